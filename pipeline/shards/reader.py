"""Random access to the images in the shards by the offsets in the index: exact, whole splits or one by one.

Shards behind URLs are read from a cache of this machine (`reading`, which is asked for where there are such).
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy import ndarray
from torch import Tensor
from tqdm import tqdm

from pipeline.artifacts.shards import Index, Manifest, Shard
from pipeline.base.errors import ArtifactError
from pipeline.base.machine import Reading
from pipeline.parallel.threads import map_in_order
from pipeline.shards.decode import BadImage, decode
from pipeline.shards.files import Opened, ShardFiles
from pipeline.shards.order import Order, ShardOrder

FETCHERS = 4  # shards that come at a time
CHUNK = 64  # images that one thread decodes at a time
T = TypeVar("T")
Rows = Int64[ndarray, " _"]  # of the index


@dataclass(frozen=True)
class Images:
    """Images of one size with their keys, sorted by key: `pixels[i]` is the image `keys[i]`."""

    keys: Sequence[str]
    pixels: UInt8[Tensor, "n c h w"]


class Reader:
    """The images of a split one at a time, numbered as in `load`, for any number of threads at once.

    At the start the shards of this machine are compared with the manifest by their sizes alone: the digests of a
    terabyte take hours. Those behind URLs are compared by digest when they come. They are opened when first needed, or
    `fetch` has them come before; `close` closes them.
    """

    def __init__(self, manifest: Manifest, index: Index, split: str, reading: Reading | None = None) -> None:
        parts = _parts(manifest, index, split)
        for shard, own in parts:
            _check(shard, own)
            if not shard.remote:
                shard.check(digest=False)
        self._index, self._rows = index, index.rows(split)
        self._shards = [shard for shard, _ in parts]
        self._numbers = [np.searchsorted(self._rows, own) for _, own in parts]
        self._shard_of = np.empty(len(self._rows), np.int64)
        for number, places in enumerate(self._numbers):
            self._shard_of[places] = number
        self._files = ShardFiles(self._shards, reading)
        self._opened = lru_cache(self._files.kept)(self._open)
        self._fetchers = ThreadPoolExecutor(FETCHERS, thread_name_prefix="shards")
        self._come: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self._rows)

    def order(self, window: int, seed: int, *names: str) -> Order:
        """In which to read the images: any, or so that of shards behind URLs few are in use at a time.

        Raises ParamsError where the cache does not hold two windows of `window` such shards, the one that is read and
        the one that comes.
        """
        if self._files.near:
            return Order(len(self), seed, *names)
        self._files.fit(2 * window, f"twice {window} shards (window_shards)")
        return ShardOrder(self._numbers, window, seed, *names)

    def walk(self) -> Rows:
        """All images, in the order in which they are best gone through once."""
        return np.arange(len(self)) if self._files.near else np.concatenate(self._numbers)

    def fetch(self, shards: Sequence[int]) -> None:
        """Has shards come in the background, by their numbers; what fails is asked for again where it is needed."""
        for number in (number for number in shards if number not in self._come):
            if self._shards[number].remote:
                self._fetchers.submit(lambda number=number: self._open(number))
        self._come = shards

    def read(self, number: int, decoded: Callable[[bytes], T]) -> T:
        """What `decoded` makes of an image's bytes. Raises ArtifactError, naming shard and key, if it is spoilt."""
        row, shard = int(self._rows[number]), int(self._shard_of[number])
        try:
            opened = self._opened(shard)  # held while it is read: it may leave the cache meanwhile
            return _read_one(self._index, row, opened.handle, decoded)
        except OSError as error:
            raise ArtifactError(
                f"{self._shards[shard].path}: expected the image {self._index.key[row]}, got: {error.strerror}"
            ) from error

    def stop(self) -> None:
        """Ends what is being fetched, wherever it is waited for; then there is no more to read."""
        self._files.stop()
        self._fetchers.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Closes the shards, each as soon as no thread reads it."""
        self.stop()
        self._opened.cache_clear()

    def _open(self, number: int) -> Opened:
        return self._files.open(self._shards[number], digest=False)


def read_shard(manifest: Manifest, index: Index, split: str, shard: Shard, reading: Reading | None = None) -> Images:
    """The images of a split that lie in one of its shards. Raises ArtifactError if the shard is missing or changed."""
    rows = index.rows(split, shard.path)
    return _read(manifest, index, [(shard, rows)], rows, "", reading)


def load(manifest: Manifest, index: Index, split: str, label: str, reading: Reading | None = None) -> Images:
    """A whole split; `label` stands before the progress bar. Raises ArtifactError as `read_shard` does."""
    return _read(manifest, index, _parts(manifest, index, split), index.rows(split), label, reading)


def _parts(manifest: Manifest, index: Index, split: str) -> list[tuple[Shard, Rows]]:
    """The shards of a split, each with its rows of the index."""
    by_shard = index.parts(split)
    strange = sorted(by_shard.keys() - {shard.path for shard in manifest.splits[split]})
    if strange:
        raise ArtifactError(f"index.parquet: expected the manifest's shards, got {strange[0]}")
    return [(shard, index.rows(split, shard.path)) for shard in manifest.splits[split]]


def _check(shard: Shard, own: Rows) -> None:
    if len(own) != shard.count:
        raise ArtifactError(f"{shard.path}: expected {shard.count} images in index.parquet, got {len(own)}")


def _read(
    manifest: Manifest,
    index: Index,
    parts: Sequence[tuple[Shard, Rows]],
    rows: Rows,
    label: str,
    reading: Reading | None,
) -> Images:
    """Decodes the `rows` of the index, which lie in `parts`, each into its own place of one tensor."""
    pixels = torch.empty((len(rows), manifest.channels, *manifest.size), dtype=torch.uint8)
    images, files = pixels.numpy(), ShardFiles([shard for shard, _ in parts], reading)
    with tqdm(total=len(rows), desc=label, disable=None if label else True, unit=" images") as bar:
        for shard, own in parts:
            opened = files.open(shard, digest=True)
            _check(shard, own)
            places = np.searchsorted(rows, own)
            chunks = [slice(start, start + CHUNK) for start in range(0, len(own), CHUNK)]

            def work(chunk: slice, own: Rows = own, places: Rows = places, opened: Opened = opened) -> int:
                """Decodes some images to their places; how many they are."""
                for row, place in zip(own[chunk].tolist(), places[chunk].tolist(), strict=True):
                    images[place] = _read_one(
                        index, row, opened.handle, lambda data: decode(data, manifest.channels, manifest.size)
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
