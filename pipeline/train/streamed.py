"""Training images that do not all fit in memory: each batch is decoded ahead of its step."""

import math
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.machine import Reading
from pipeline.parallel.cores import cores
from pipeline.shards.decode import decode
from pipeline.shards.order import Order, ShardOrder
from pipeline.shards.prefetch import Job, Prefetcher, buffer
from pipeline.shards.reader import Reader, load
from pipeline.train.pixels import Pixels, Resident, Rows, spaced


class Streamed(Pixels):
    """Images that threads decode from the shards each time that they are wanted: the pixels that `load` gives.

    Those of the rows `kept` are decoded once and stay. Local shards are compared with the manifest by size alone; of
    those behind URLs `window` are read from at a time. Close it at the end.
    """

    def __init__(
        self,
        manifest: Manifest,
        index: Index,
        split: str,
        kept: Rows,
        reading: Reading | None = None,
        *,
        window: int,
        device: torch.device,
        threads: int,
    ) -> None:
        self.device, self._shape = device, (manifest.channels, *manifest.size)
        self._window = window
        self._reader = Reader(manifest, index, split, reading)
        self._kept: dict[int, UInt8[np.ndarray, "c h w"]] = {}
        self._prefetcher = Prefetcher(self._reader, threads)
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            self.order(0)  # refuses a cache that is too small before anything is fetched
            walk = self._reader.walk()
            wanted = walk[np.isin(walk, kept.numpy())].tolist()
            self._kept = dict(zip(wanted, self._prefetcher.map(self._read, wanted), strict=True))
            on_failure.pop_all()

    def __len__(self) -> int:
        return len(self._reader)

    def close(self) -> None:
        """Ends the threads and closes the shards; there are no more images then."""
        self._prefetcher.close()

    def order(self, seed: int, *names: str) -> Order:
        """Any order, but so that of shards behind URLs few are in use at a time."""
        return self._reader.order(self._window, seed, *names)

    def walk(self) -> Rows:
        """Shards behind URLs one after the other."""
        return torch.from_numpy(self._reader.walk())

    def some(self, count: int) -> Rows:
        """Evenly spaced; of shards behind URLs the rows that come first in some order."""
        order = self.order(0, "train", "some")
        if isinstance(order, ShardOrder):
            return torch.from_numpy(order.batch(0, min(count, len(self))))
        return spaced(len(self), count)

    def stream(self, wanted: Iterable[Rows]) -> Iterator[UInt8[Tensor, "_ c h w"]]:
        """The next of the wanted rows are asked for early, and decoded meanwhile."""
        for pixels in self._prefetcher.batches(map(self._job, wanted)):
            yield pixels.to(self.device, non_blocking=True)

    def _job(self, rows: Rows) -> Job[Tensor]:
        numbers, pixels = rows.tolist(), buffer((len(rows), *self._shape), self.device)

        def fill(i: int) -> None:
            pixels.numpy()[i] = self._read(numbers[i])

        return Job(pixels, len(numbers), fill)

    def _read(self, row: int) -> UInt8[np.ndarray, "c h w"]:
        if row in self._kept:
            return self._kept[row]
        channels, *size = self._shape
        return self._reader.read(row, lambda data: decode(data, channels, (size[0], size[1])))


def training_images(
    manifest: Manifest,
    index: Index,
    labelled: Rows,
    resident_mb: float,
    window: int,
    device: torch.device,
    reading: Reading | None = None,
) -> AbstractContextManager[Pixels]:
    """All in memory where their pixels take at most `resident_mb`, or else decoded for each batch.

    The labelled ones, which come again and again, stay in memory then, if they by themselves take no more than that.
    """
    most = resident_mb * 1e6 / (manifest.channels * math.prod(manifest.size))
    if manifest.count("train") <= most:
        return nullcontext(Resident(load(manifest, index, "train", "train", reading).pixels.to(device)))
    kept = labelled if len(labelled) <= most else labelled[:0]
    return closing(Streamed(manifest, index, "train", kept, reading, window=window, device=device, threads=cores()))
