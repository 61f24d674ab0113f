"""The signals by which a scheduler, or a person, asks a training to save what it has and to end."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], int]]:
    """In the block these signals end nothing: the call that is yielded gives the number of one that came, or 0.

    A second Ctrl-C is not waited for: it ends the block at once, as ever. Signals reach a process's main thread alone;
    in any other one nothing ever comes.
    """
    came = [0]

    def note(number: int, _: FrameType | None) -> None:
        if number == came[0] == signal.SIGINT:
            raise KeyboardInterrupt
        came[0] = number

    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield lambda: came[0]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
