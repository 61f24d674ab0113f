"""One self-contained page about a run. Every number on it comes from a file that a stage wrote."""
