"""One image to what a shard holds of it; a process that does this alone loads no more than is imported here."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from jaxtyping import UInt8
from numpy import ndarray

from pipeline.shards.decode import BadImage, encode, normalise, read_file


class Encoded(NamedTuple):
    """The bytes that go into a shard and the end of their name; `size` is (height, width)."""

    data: bytes
    extension: str
    size: tuple[int, int]
    picture: str  # the digest of the picture as it was brought: of a file's bytes, of an array's pixels


def encoded(image: str | UInt8[ndarray, "c h w"], channels: int, max_side: int) -> Encoded | BadImage:
    """Of the file of that name, or of an array; the reason why where it cannot be read."""
    try:
        if isinstance(image, str):
            data = brought = read_file(Path(image))
        else:
            data, brought = encode(image), image.tobytes()
            if len(image) == channels and max(image.shape) <= max_side:
                return Encoded(data, "png", (image.shape[1], image.shape[2]), picture_of(brought))
        return Encoded(*normalise(data, channels, max_side), picture_of(brought))
    except BadImage as error:
        return error


def picture_of(data: bytes) -> str:
    """The digest of a picture, by which a label knows it again: 20 hex digits."""
    return hashlib.blake2b(data, digest_size=10).hexdigest()
