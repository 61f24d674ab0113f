"""A classifier from few labels and all images."""
