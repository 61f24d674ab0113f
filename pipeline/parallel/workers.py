"""Large pieces of work side by side, one in a thread for each core; their progress in images and bytes a second.

Threads, as decoding, reading, writing and digests all let go of the interpreter: it is held for 0.2 ms of the 1.1 that
a photograph of 400 x 300 takes. Processes would outlive a killed parent and write on beside the next run.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Literal, TypeVar

from tqdm import tqdm

from pipeline.parallel.cores import cores

T = TypeVar("T")
R = TypeVar("R")
MB = 1_000_000


class StoppedError(Exception):
    """The work is no longer wanted: another piece has failed, or the user has stopped it. No user sees this."""


class Progress:
    """A bar over `total` images or MB, if known. Every worker reports to it, and so learns that it is to stop."""

    def __init__(self, label: str, total: float | None, unit: Literal["images", "MB"]) -> None:
        self._bar = tqdm(total=total, desc=label, unit=f" {unit}", unit_scale=unit == "MB", disable=None)
        self._by_image = unit == "images"
        self._lock = threading.Lock()
        self._stopped = False
        self._started = time.perf_counter()
        self.images = self.bytes = 0

    def add(self, images: int, num_bytes: int) -> None:
        """Notes what was done. Raises StoppedError where nothing more is to be done."""
        if self._stopped:
            raise StoppedError
        with self._lock:
            self.images += images
            self.bytes += num_bytes
            seconds = time.perf_counter() - self._started
            other = (
                f"{self.bytes / MB / seconds:.0f} MB/s" if self._by_image else f"{self.images / seconds:.0f} images/s"
            )
            self._bar.set_postfix_str(other, refresh=False)
            self._bar.update(images if self._by_image else num_bytes / MB)

    def stop(self) -> None:
        """From now on `add` raises."""
        self._stopped = True

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()


def side_by_side(work: Callable[[T], R], things: Sequence[T], progress: Progress) -> Iterator[R]:
    """`map` in threads, results in order; the work that is left is stopped where one fails or the caller leaves."""
    with ThreadPoolExecutor(cores()) as pool:
        futures = [pool.submit(work, thing) for thing in things]
        try:
            for future in futures:
                yield future.result()
        finally:
            progress.stop()
            for future in futures:
                future.cancel()
