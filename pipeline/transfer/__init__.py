"""Which backbone for which images: every backbone on every set of images, by several measures with intervals."""
