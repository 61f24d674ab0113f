"""Small images of several modes, and their bytes."""

from io import BytesIO

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
SMOOTH = np.linspace(0, 255, 24 * 40).reshape(24, 40).astype(np.uint8)


def data(image, kind="PNG", **options):
    file = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def with_alpha(alpha):
    return Image.fromarray(np.dstack([RGB, np.full(RGB.shape[:2], alpha, np.uint8)]))


def palette(colours, *table):
    image = Image.fromarray(GREY % colours)
    image.putpalette(list(map(int, table)))
    return image
