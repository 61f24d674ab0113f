"""Signals by which a scheduler or a person asks a training to save and end."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


@contextmanager
def stop_requests() -> Iterator[Callable[[], int]]:
    """In the block these signals end nothing. The yielded call returns the number of one that has come, or 0.

    A second Ctrl-C ends the block at once. Only a process's main thread gets signals; in another thread the call always
    returns 0.
    """
    received = [0]

    def note(number: int, _: FrameType | None) -> None:
        if number == received[0] == signal.SIGINT:
            raise KeyboardInterrupt
        received[0] = number

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield lambda: received[0]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
