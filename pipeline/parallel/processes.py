"""A map in processes, for work that holds the interpreter for most of its time: threads would take turns.

A process ends when its pipe does, so none outlives its parent, however that ends; it loads no more than its work needs.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue
from signal import SIGKILL
from types import TracebackType
from typing import Generic, TypeVar

from pipeline.base.errors import PipelineError

T = TypeVar("T")
R = TypeVar("R")


class Processes(Generic[T, R]):
    """`count` processes that do `work`, a function of a module or a `partial` of one; any thread may ask them."""

    def __init__(self, work: Callable[[T], R], count: int) -> None:
        self._free: SimpleQueue[tuple[subprocess.Popen[bytes], Connection]] = SimpleQueue()
        self._all = [_start(work) for _ in range(count)]
        for one in self._all:
            self._free.put(one)

    def map(self, things: Sequence[T]) -> list[R]:
        """Waits for a free process, and for its results. Raises PipelineError where it ended, as for want of memory."""
        process, pipe = self._free.get()
        try:
            pipe.send(things)
            return pipe.recv()
        except (EOFError, OSError) as error:
            code = process.wait()
            why = "was killed; is there memory enough?" if code == -SIGKILL else f"failed with code {code}"
            raise PipelineError(f"process {process.pid}: expected its results, but it {why}") from error
        finally:
            self._free.put((process, pipe))

    def __enter__(self) -> "Processes[T, R]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, pipe in self._all:
            pipe.close()
            process.wait()


def _start(work: Callable[[T], R]) -> tuple[subprocess.Popen[bytes], Connection]:
    ours, theirs = Pipe()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is for the parent alone
        )
    ours.send(work)
    return process, ours


def _serve(pipe: Connection) -> None:
    with suppress(EOFError, ConnectionError):  # the parent has what it wanted, or has ended
        work = pipe.recv()
        while True:
            pipe.send([work(thing) for thing in pipe.recv()])


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
