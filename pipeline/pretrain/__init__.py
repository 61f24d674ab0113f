"""A backbone from images without labels."""
