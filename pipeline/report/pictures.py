"""Images of the shards as PNG data URIs, small enough for a page that holds a hundred of them."""

import os
from base64 import b64encode
from collections.abc import Collection
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from pipeline.artifacts import Index, Manifest
from pipeline.data.images import BadImage, decode
from pipeline.errors import ArtifactError

SIDE = 112  # pixels of the longer side, at most
TINY = 64  # images up to this size are enlarged by the page without blur


@dataclass(frozen=True)
class Picture:
    """A data URI, and whether the image is so small that its pixels should stay visible."""

    uri: str
    tiny: bool


def pictures(manifest: Manifest, index: Index, keys: Collection[str]) -> dict[str, Picture]:
    """The images with these keys, upright, whole and in the set's mode; a key that is not in the index is refused."""
    shards = {shard.path: shard for shards in manifest.splits.values() for shard in shards}
    rows = {key: row for row, key in enumerate(index.key) if key in keys}
    found = {}
    for key in sorted(keys):
        if key not in rows:
            raise ArtifactError(f"index.parquet: expected the image {key}, found none")
        row = rows[key]
        shard = shards[index.shard[row]]
        shard.check(digest=False)
        with Path(shard.path).open("rb") as file:
            data = os.pread(file.fileno(), int(index.size[row]), int(index.offset[row]))
        try:
            found[key] = _picture(data, manifest.channels)
        except BadImage as error:
            raise ArtifactError(f"{shard.path}: expected the image {key}, got: {error}") from error
    return found


def _picture(data: bytes, channels: int) -> Picture:
    pixels = decode(data, channels)
    image = Image.fromarray(pixels[0] if channels == 1 else pixels.transpose(1, 2, 0))
    image.thumbnail((SIDE, SIDE))
    file = BytesIO()
    image.save(file, "PNG", optimize=True)
    return Picture(f"data:image/png;base64,{b64encode(file.getvalue()).decode()}", max(image.size) <= TINY)
