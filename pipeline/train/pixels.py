"""The training images by their rows, whether all of them are in memory or each batch is decoded ahead of its step."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from itertools import count, islice, tee
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from pipeline.artifacts.shards import Index, Manifest
from pipeline.nn.classifier import AT_ONCE
from pipeline.parallel import dist
from pipeline.parallel.cores import cores
from pipeline.shards.decode import decode, quiet
from pipeline.shards.order import Order, ShardOrder
from pipeline.shards.reader import Reader, load
from pipeline.shards.remote.download import Reading

AHEAD = 2  # batches that are decoded while one is trained on
CHUNK = 8  # images that a thread takes at a time
Rows = Int64[Tensor, " _"]  # on the CPU
T = TypeVar("T")


class Resident:
    """Images that are all there, on their device, `len` of them."""

    def __init__(self, pixels: UInt8[Tensor, "n c h w"]) -> None:
        self._pixels, self.device = pixels, pixels.device

    def __len__(self) -> int:
        return len(self._pixels)

    def order(self, seed: int, *names: str) -> Order:
        """In which they come, epoch after epoch."""
        return Order(len(self), seed, *names)

    def walk(self) -> Rows:
        """All rows, to be gone through once."""
        return torch.arange(len(self))

    def some(self, count: int) -> Rows:
        """Evenly spaced rows, all where there are no more than `count`."""
        return spaced(len(self), count)

    def stream(self, wanted: Iterable[Rows]) -> Iterator[UInt8[Tensor, "_ c h w"]]:
        """The images of each of the wanted rows, on the device."""
        for rows in wanted:
            yield self._pixels[rows.to(self.device)]


class Decoded:
    """Images that are decoded from the shards each time that they are wanted, in threads: the pixels that `load` gives.

    Those of the rows `kept` are decoded once and stay. Shards are compared with the manifest by size alone; of those
    behind URLs `window` are read from at a time. `threads` are this process's own. Close it at the end.
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
        self.device, self._channels, self._size = device, manifest.channels, manifest.size
        self._window = window
        self._reader = Reader(manifest, index, split, reading)
        self._kept: dict[int, UInt8[np.ndarray, "c h w"]] = {}
        with ExitStack() as opened:  # where what follows fails, all is closed again
            opened.callback(self._reader.close)
            opened.enter_context(quiet())
            self._pool = ThreadPoolExecutor(threads, thread_name_prefix="pixels")
            opened.callback(self._pool.shutdown, wait=True, cancel_futures=True)
            opened.callback(self._reader.stop)
            self.order(0)  # refuses a cache that is too small before anything is fetched
            walk = self._reader.walk()
            wanted = walk[np.isin(walk, kept.numpy())].tolist()
            self._kept = dict(zip(wanted, self._pool.map(self._pixels, wanted), strict=True))
            self._open = opened.pop_all()

    def __len__(self) -> int:
        return len(self._reader)

    def close(self) -> None:
        """Ends the threads and closes the shards; there are no more images then."""
        self._open.close()

    def order(self, seed: int, *names: str) -> Order:
        """As of `Resident`, but so that of shards behind URLs few are in use at a time."""
        return self._reader.order(self._window, seed, *names)

    def walk(self) -> Rows:
        """As of `Resident`; shards behind URLs one after the other."""
        return torch.from_numpy(self._reader.walk())

    def some(self, count: int) -> Rows:
        """As of `Resident`; of shards behind URLs the rows that come first in some order."""
        order = self.order(0, "train", "some")
        if isinstance(order, ShardOrder):
            return torch.from_numpy(order.batch(0, min(count, len(self))))
        return spaced(len(self), count)

    def stream(self, wanted: Iterable[Rows]) -> Iterator[UInt8[Tensor, "_ c h w"]]:
        """As of `Resident`; the next `AHEAD` of the wanted rows are asked for early, and decoded meanwhile."""
        wanted, ahead = iter(wanted), deque[tuple[Tensor, list[Future[None]]]]()
        try:
            while True:
                ahead.extend(map(self._start, islice(wanted, 1 + AHEAD - len(ahead))))
                if not ahead:
                    return
                pixels, work = ahead.popleft()
                for future in work:
                    future.result()
                yield pixels.to(self.device, non_blocking=True)
        finally:
            for _, work in ahead:
                for future in work:
                    future.cancel()

    def _start(self, rows: Rows) -> tuple[Tensor, list[Future[None]]]:
        """Images that threads have begun to decode."""
        shape = (len(rows), self._channels, *self._size)
        pixels = torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        places, numbers = range(len(rows)), rows.tolist()

        def fill(own: range) -> None:
            for i in own:
                pixels.numpy()[i] = self._pixels(numbers[i])

        return pixels, [self._pool.submit(fill, places[start : start + CHUNK]) for start in places[::CHUNK]]

    def _pixels(self, row: int) -> UInt8[np.ndarray, "c h w"]:
        if row in self._kept:
            return self._kept[row]
        return self._reader.read(row, lambda data: decode(data, self._channels, self._size))


Pixels = Resident | Decoded


def spaced(num_rows: int, count: int) -> Rows:
    """`count` evenly spaced rows, the first and the last among them; all where there are no more."""
    return torch.linspace(0, num_rows - 1, min(count, num_rows)).long()


class Ahead(Generic[T]):
    """The rows of any step, what else a plan says of it, and the images.

    Plans are functions of the step alone, and asked for some steps before they are due. A step that is not the next one
    is as right, but waited for.
    """

    def __init__(self, images: Pixels, plan: Callable[[int], tuple[Rows, T]]) -> None:
        self._images, self._plan = images, plan
        self._next = -1
        self._stream: Iterator[tuple[tuple[Rows, T], Tensor]] = iter(())

    def __call__(self, step: int) -> tuple[Rows, T, UInt8[Tensor, "b c h w"]]:
        """All three, the images on their device."""
        if step != self._next:
            plans, wanted = tee(map(self._plan, count(step)))
            self._stream = zip(plans, self._images.stream(rows for rows, _ in wanted), strict=False)
        self._next = -1
        (rows, rest), pixels = next(self._stream)
        self._next = step + 1
        return rows, rest, pixels


@torch.no_grad()
def of_all(
    images: Pixels, width: int, work: Callable[[UInt8[Tensor, "b c h w"]], Float[Tensor, "b d"]]
) -> Float[Tensor, "n d"]:
    """What `work` says of each image, `width` numbers, asked for `AT_ONCE` images at a time.

    Of several processes each has its share of the work, and all have the whole table.
    """
    own = images.walk().split(AT_ONCE)[dist.rank() :: dist.world()]
    table = torch.zeros(len(images), width, device=images.device)
    for rows, pixels in zip(own, images.stream(own), strict=True):
        table[rows.to(table.device)] = work(pixels).to(table.device)
    return dist.total(table)


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

    The labelled ones stay in memory then, which come again and again, if they by themselves take no more than that.
    """
    most = resident_mb * 1e6 / (manifest.channels * math.prod(manifest.size))
    if manifest.count("train") <= most:
        return nullcontext(Resident(load(manifest, index, "train", "train", reading).pixels.to(device)))
    kept = labelled if len(labelled) <= most else labelled[:0]
    return closing(Decoded(manifest, index, "train", kept, reading, window=window, device=device, threads=cores()))
