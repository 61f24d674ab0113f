"""The files between stages, one module for each contract; no other code knows their formats."""
