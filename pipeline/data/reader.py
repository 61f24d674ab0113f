"""Random access to the images in the shards, by the offsets in the index: local, exact, whole splits kept as uint8."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import UInt8
from numpy import ndarray
from torch import Tensor
from tqdm import tqdm

from pipeline.artifacts import Index, Manifest, Shard
from pipeline.data.images import BadImage, decode
from pipeline.data.threads import map_in_order
from pipeline.errors import ArtifactError

CHUNK = 64  # images that one thread decodes at a time


@dataclass(frozen=True)
class Images:
    """Images of one size with their keys, sorted by key: `pixels[i]` is the image `keys[i]`."""

    keys: Sequence[str]
    pixels: UInt8[Tensor, "n c h w"]


def read_shard(manifest: Manifest, index: Index, split: str, shard: Shard) -> Images:
    """The images of a split that lie in one of its shards. Raises ArtifactError if the shard is missing or changed."""
    rows = [row for row in _rows(index, split) if index.shard[row] == shard.path]
    return _read(manifest, index, [(shard, rows)], rows, "")


def load(manifest: Manifest, index: Index, split: str, label: str) -> Images:
    """A whole split; `label` stands before the progress bar. Raises ArtifactError as `read_shard` does."""
    rows = _rows(index, split)
    by_shard: dict[str, list[int]] = {shard.path: [] for shard in manifest.splits[split]}
    for row in rows:
        if index.shard[row] not in by_shard:
            raise ArtifactError(f"index.parquet: expected the manifest's shards, got {index.shard[row]}")
        by_shard[index.shard[row]].append(row)
    return _read(manifest, index, [(shard, by_shard[shard.path]) for shard in manifest.splits[split]], rows, label)


def _rows(index: Index, split: str) -> list[int]:
    return [row for row, name in enumerate(index.split) if name == split]


def _read(
    manifest: Manifest, index: Index, parts: Iterable[tuple[Shard, list[int]]], rows: list[int], label: str
) -> Images:
    """Decodes the `rows` of the index, which lie in `parts`, each into its own place of one tensor."""
    pixels = torch.empty((len(rows), manifest.channels, *manifest.size), dtype=torch.uint8)
    place = {row: at for at, row in enumerate(rows)}
    images = pixels.numpy()
    with tqdm(total=len(rows), desc=label, disable=None if label else True, unit=" images") as bar:
        for shard, own in parts:
            shard.check(digest=True)
            if len(own) != shard.count:
                raise ArtifactError(f"{shard.path}: expected {shard.count} images in index.parquet, got {len(own)}")
            chunks = [own[start : start + CHUNK] for start in range(0, len(own), CHUNK)]
            with Path(shard.path).open("rb") as file:

                def work(chunk: list[int], shard: Shard = shard, handle: int = file.fileno()) -> int:
                    for row in chunk:
                        images[place[row]] = _image(manifest, index, row, shard, handle)
                    return len(chunk)

                for done in map_in_order(work, chunks, chunk=1):
                    bar.update(done)
    return Images([index.key[row] for row in rows], pixels)


def _image(manifest: Manifest, index: Index, row: int, shard: Shard, handle: int) -> UInt8[ndarray, "c h w"]:
    data = os.pread(handle, int(index.size[row]), int(index.offset[row]))
    try:
        return decode(data, manifest.channels, manifest.size)
    except BadImage as error:
        raise ArtifactError(f"{shard.path}: expected the image {index.key[row]}, got: {error}") from error
