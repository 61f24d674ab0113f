"""Views of images: what may happen to a picture without changing what it shows."""
