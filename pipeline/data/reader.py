"""Random access to the images in the shards by the offsets in the index: local, exact, whole splits or one by one."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy import ndarray
from torch import Tensor
from tqdm import tqdm

from pipeline.artifacts import Index, Manifest, Shard
from pipeline.data.images import BadImage, decode
from pipeline.data.threads import map_in_order
from pipeline.errors import ArtifactError

CHUNK = 64  # images that one thread decodes at a time
KEPT_OPEN = 512  # shards; many systems allow a process 1024 files
T = TypeVar("T")
Rows = Int64[ndarray, " _"]  # of the index


@dataclass(frozen=True)
class Images:
    """Images of one size with their keys, sorted by key: `pixels[i]` is the image `keys[i]`."""

    keys: Sequence[str]
    pixels: UInt8[Tensor, "n c h w"]


class Reader:
    """The images of a split one at a time, numbered as in `load`, for any number of threads at once.

    At the start the shards are compared with the manifest by their sizes alone: the digests of a terabyte take hours.
    They are opened when first needed; `close` closes them.
    """

    def __init__(self, manifest: Manifest, index: Index, split: str) -> None:
        for shard, own in _parts(manifest, index, split):
            _check(shard, own, digest=False)
        self._index, self._rows = index, index.rows(split)
        self._opened = lru_cache(KEPT_OPEN)(_Opened)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, number: int, decoded: Callable[[bytes], T]) -> T:
        """What `decoded` makes of an image's bytes. Raises ArtifactError, naming shard and key, if it is spoilt."""
        row = int(self._rows[number])
        path = self._index.shard[row]
        try:
            opened = self._opened(path)  # held while it is read: it may leave the cache meanwhile
            return _read_one(self._index, row, opened.handle, decoded)
        except OSError as error:
            raise ArtifactError(f"{path}: expected the image {self._index.key[row]}, got: {error.strerror}") from error

    def close(self) -> None:
        """Closes the shards, each as soon as no thread reads it."""
        self._opened.cache_clear()


class _Opened:
    """An open file that is closed when nobody holds it any more."""

    def __init__(self, path: str) -> None:
        self.handle = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            os.close(self.handle)


def read_shard(manifest: Manifest, index: Index, split: str, shard: Shard) -> Images:
    """The images of a split that lie in one of its shards. Raises ArtifactError if the shard is missing or changed."""
    rows = index.rows(split, shard.path)
    return _read(manifest, index, [(shard, rows)], rows, "")


def load(manifest: Manifest, index: Index, split: str, label: str) -> Images:
    """A whole split; `label` stands before the progress bar. Raises ArtifactError as `read_shard` does."""
    return _read(manifest, index, _parts(manifest, index, split), index.rows(split), label)


def _parts(manifest: Manifest, index: Index, split: str) -> list[tuple[Shard, Rows]]:
    """The shards of a split, each with its rows of the index."""
    by_shard = index.parts(split)
    strange = sorted(by_shard.keys() - {shard.path for shard in manifest.splits[split]})
    if strange:
        raise ArtifactError(f"index.parquet: expected the manifest's shards, got {strange[0]}")
    return [(shard, index.rows(split, shard.path)) for shard in manifest.splits[split]]


def _check(shard: Shard, own: Rows, *, digest: bool) -> None:
    shard.check(digest=digest)
    if len(own) != shard.count:
        raise ArtifactError(f"{shard.path}: expected {shard.count} images in index.parquet, got {len(own)}")


def _read(manifest: Manifest, index: Index, parts: Iterable[tuple[Shard, Rows]], rows: Rows, label: str) -> Images:
    """Decodes the `rows` of the index, which lie in `parts`, each into its own place of one tensor."""
    pixels = torch.empty((len(rows), manifest.channels, *manifest.size), dtype=torch.uint8)
    images = pixels.numpy()
    with tqdm(total=len(rows), desc=label, disable=None if label else True, unit=" images") as bar:
        for shard, own in parts:
            _check(shard, own, digest=True)
            places = np.searchsorted(rows, own)
            chunks = [slice(start, start + CHUNK) for start in range(0, len(own), CHUNK)]
            with Path(shard.path).open("rb") as file:

                def work(chunk: slice, own: Rows = own, places: Rows = places, handle: int = file.fileno()) -> int:
                    for row, place in zip(own[chunk].tolist(), places[chunk].tolist(), strict=True):
                        images[place] = _read_one(
                            index, row, handle, lambda data: decode(data, manifest.channels, manifest.size)
                        )
                    return len(own[chunk])

                for done in map_in_order(work, chunks, chunk=1):
                    bar.update(done)
    return Images(index.keys_of(rows), pixels)


def _read_one(index: Index, row: int, handle: int, decoded: Callable[[bytes], T]) -> T:
    try:
        return decoded(os.pread(handle, int(index.size[row]), int(index.offset[row])))
    except BadImage as error:
        raise ArtifactError(f"{index.shard[row]}: expected the image {index.key[row]}, got: {error}") from error
