"""Runs side by side: their figures with intervals, paired differences, picks, and learning curves."""
