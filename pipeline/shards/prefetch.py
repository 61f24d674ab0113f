"""Batches of images that threads read and decode while the ones before them are trained on."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

import torch
from jaxtyping import UInt8
from torch import Tensor

from pipeline.shards.decode import quiet
from pipeline.shards.reader import Reader

AHEAD = 2  # batches that are prepared while one is trained on
CHUNK = 4  # images that a thread takes at a time
B = TypeVar("B")
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Job(Generic[B]):
    """A batch with room for `size` images, and the function that puts the i-th of them in its place."""

    batch: B
    size: int
    fill: Callable[[int], None]


class Prefetcher:
    """Threads that fill batches with images from a reader. Closing it ends the threads and closes the reader."""

    def __init__(self, reader: Reader, threads: int) -> None:
        self._open = ExitStack()
        self._open.callback(reader.close)
        self._open.enter_context(quiet())
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="prefetch")
        self._open.callback(self._pool.shutdown, wait=True, cancel_futures=True)
        self._open.callback(reader.stop)

    def close(self) -> None:
        """Waits for the images that are being decoded, no more. To close twice does no harm."""
        self._open.close()

    def map(self, work: Callable[[T], R], things: Sequence[T]) -> Iterator[R]:
        """The results in order, all of them begun at once."""
        return self._pool.map(work, things)

    def batches(self, jobs: Iterable[Job[B]]) -> Iterator[B]:
        """The batch of each job, in order and full; meanwhile the next `AHEAD` jobs are asked for and begun.

        An error of a thread is raised where its batch is due. What has not begun by then, or when the iterator is
        dropped, is cancelled.
        """
        jobs, begun = iter(jobs), deque[tuple[B, list[Future[None]]]]()
        try:
            while True:
                begun.extend(map(self._begin, islice(jobs, 1 + AHEAD - len(begun))))
                if not begun:
                    return
                batch, work = begun.popleft()
                for future in work:
                    future.result()
                yield batch
        finally:
            for _, work in begun:
                for future in work:
                    future.cancel()

    def _begin(self, job: Job[B]) -> tuple[B, list[Future[None]]]:
        def fill(places: range) -> None:
            for i in places:
                job.fill(i)

        places = range(job.size)
        return job.batch, [self._pool.submit(fill, places[start : start + CHUNK]) for start in places[::CHUNK]]


def buffer(shape: Sequence[int], device: torch.device) -> UInt8[Tensor, "..."]:
    """Room for pixels on the CPU, pinned where they will be copied to a GPU."""
    return torch.empty(tuple(shape), dtype=torch.uint8, pin_memory=device.type == "cuda")
