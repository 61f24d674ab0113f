"""Images of the shards, some hundreds of them: their bytes, or data URIs for pages."""

import os
from base64 import b64encode
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import ArtifactError
from pipeline.base.machine import Reading
from pipeline.shards.decode import BadImage, decode
from pipeline.shards.files import ShardFiles

TINY = 64  # images up to this size keep each pixel, and are enlarged by the page without blur
QUALITY = 80  # of the others, as WebP: a tenth of what PNG takes


@dataclass(frozen=True)
class Picture:
    """A data URI, and whether the image is so small that its pixels should stay visible."""

    uri: str
    tiny: bool


def pictures(
    manifest: Manifest, index: Index, keys: Collection[str], side: int, reading: Reading | None = None
) -> dict[str, Picture]:
    """The images with these keys, upright, whole, in the set's mode, no longer than `side` pixels; only they are read.

    Raises ArtifactError for a key that is not in the index and a shard that is missing or changed.
    """
    by_key = {}
    for key, path, data in files_of(manifest, index, keys, reading):
        try:
            by_key[key] = picture_of(data, manifest.channels, side)
        except BadImage as error:
            raise ArtifactError(f"{path}: expected the image {key}, got: {error}") from error
    return dict(sorted(by_key.items()))


def files_of(
    manifest: Manifest, index: Index, keys: Collection[str], reading: Reading | None = None
) -> Iterator[tuple[str, str, bytes]]:
    """Key, shard and bytes of each of these images, shard by shard; raises as `pictures` does."""
    shards = {shard.path: shard for shards in manifest.splits.values() for shard in shards}
    wanted = sorted(set(keys))
    rows = index.rows_of(wanted, "index.parquet", "an image").tolist()
    places = sorted((index.shard[row], key, row) for key, row in zip(wanted, rows, strict=True))  # each shard once
    files = ShardFiles([shards[path] for path in dict.fromkeys(path for path, _, _ in places)], reading)
    for path, key, row in places:
        opened = files.open(shards[path], digest=False)
        yield key, path, os.pread(opened.handle, int(index.size[row]), int(index.offset[row]))


def picture_of(data: bytes, channels: int, side: int) -> Picture:
    """The picture of an image's bytes. Raises BadImage."""
    pixels = decode(data, channels)
    image = Image.fromarray(pixels[0] if channels == 1 else pixels.transpose(1, 2, 0))
    tiny, file = max(image.size) <= TINY, BytesIO()
    image.thumbnail((side, side))
    if tiny:
        image.save(file, "PNG", optimize=True)
    else:
        image.save(file, "WEBP", quality=QUALITY, method=2)  # half the time of the usual 4, for 2 % more bytes
    return Picture(f"data:image/{'png' if tiny else 'webp'};base64,{b64encode(file.getvalue()).decode()}", tiny)
