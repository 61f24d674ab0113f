"""One vector for each image."""
