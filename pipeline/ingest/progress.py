"""A bar in images and bytes a second, to which all threads report."""

import threading
import time
from types import TracebackType
from typing import Literal

from tqdm import tqdm

MB = 1_000_000


class StoppedError(Exception):
    """The work is no longer wanted: another thread has failed, or the user has stopped it. No user sees this."""


class Progress:
    """A bar over `total` images or MB, if known. Threads that report to it learn from it that they are to stop."""

    def __init__(self, label: str, total: float | None, unit: Literal["images", "MB"]) -> None:
        self._bar = tqdm(total=total, desc=label, unit=f" {unit}", unit_scale=unit == "MB", disable=None)
        self._by_image = unit == "images"
        self._lock = threading.Lock()
        self._stopped = False
        self._started = time.perf_counter()
        self._images = self._bytes = 0

    def add(self, images: int, num_bytes: int) -> None:
        """Notes what was done. Raises StoppedError where nothing more is to be done."""
        if self._stopped:
            raise StoppedError
        with self._lock:
            self._images += images
            self._bytes += num_bytes
            seconds = time.perf_counter() - self._started
            mb, by_image = self._bytes / MB, self._by_image
            other = f"{mb / seconds:.0f} MB/s" if by_image else f"{self._images / seconds:.0f} images/s"
            self._bar.set_postfix_str(other, refresh=False)
            self._bar.update(images if by_image else num_bytes / MB)

    def stop(self) -> None:
        """From now on `add` raises."""
        self._stopped = True

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
