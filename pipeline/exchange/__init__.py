"""Picks to tools for labelling, with guesses, and labels back from them."""
