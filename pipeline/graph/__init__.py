"""The graph of nearest neighbours of all training images, and labels spread through it."""
