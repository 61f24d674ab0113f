"""Images of more than 8 bits a value: the values themselves, and their scale.

A file of 16 bits may hold what a camera measured in 10 or 12, and does not say so.
"""

from io import BytesIO

import numpy as np
from jaxtyping import UInt8, UInt16
from numpy import ndarray
from PIL import Image

DEPTHS = (8, 10, 12, 14, 16)  # bits that a camera or scanner may have used of the 16 in a file
# Pillow keeps the upper byte of colours of 16 bits; read with the bytes the other way round it keeps the lower one.
SWAPPED = {f"{mode};16{order}": f"{mode};16{other}" for mode in ("RGB", "RGBA") for order, other in ("BL", "LB", "NB")}


def colours_of_16_bits(data: bytes, image: Image.Image) -> UInt16[ndarray, "h w c"] | None:
    """The colours of a PNG or TIFF that has 16 bits for each; None for any other image."""
    if image.mode not in ("RGB", "RGBA") or not (image.format == "TIFF" or is_deep_png(data, image)):
        return None
    halves = []
    for lower in (False, True):
        with Image.open(BytesIO(data), formats=[str(image.format)]) as half:
            arguments = [tile.args if isinstance(tile.args, tuple) else (tile.args,) for tile in half.tile]
            if not all(own and own[0] in SWAPPED for own in arguments):
                return None
            if lower:
                tiles = zip(half.tile, arguments, strict=True)
                half.tile = [tile._replace(args=(SWAPPED[own[0]], *own[1:])) for tile, own in tiles]
            halves.append(np.asarray(half).astype(np.uint16))
    return halves[0] << 8 | halves[1]


def is_deep_png(data: bytes, image: Image.Image) -> bool:
    """Whether an image is a PNG of 16 bits a value, which its mode does not say of colours."""
    return image.format == "PNG" and data[24] == 16  # the byte after width and height


def scaled(values: ndarray, *, spread: bool) -> UInt8[ndarray, "h w *c"]:
    """Integers up to 65535 as 8 bits, by the least of DEPTHS that holds them all; by 16, if `spread` over it."""
    high = values.max()
    most = 65535 if spread else next(2**depth - 1 for depth in DEPTHS if high < 2**depth)
    return ((values.astype(np.uint32) * 255 + most // 2) // most).astype(np.uint8)
