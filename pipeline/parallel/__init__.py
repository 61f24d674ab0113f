"""Processes, threads, cores, and the signals that stop them."""
