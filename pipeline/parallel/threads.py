"""A map in threads: results in the order of the things, few of them in memory at a time.

Threads are enough for photographs: decoding, reading, writing and hashing hold the interpreter for a fifth of their
time (0.2 ms of the 1.1 ms that one of 400 x 300 takes). For many small images there is `processes`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from pipeline.parallel.cores import cores

T = TypeVar("T")
R = TypeVar("R")


def map_in_order(
    work: Callable[[T], R],
    things: Iterable[T],
    chunk: int = 16,
    threads: int | None = None,
    stop: Callable[[], None] = lambda: None,
) -> Iterator[R]:
    """`map` in threads (one a core, if their number is not given); a thread takes a chunk of things at a time.

    Two chunks a thread are begun before their results are asked for. When work fails or the caller leaves, chunks that
    have not begun are dropped, and `stop` is called, which may end those that have.
    """
    threads = threads or cores()
    source = iter(things)
    ahead: deque[Future[list[R]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            while part := list(islice(source, chunk)):
                ahead.append(pool.submit(lambda part: [work(thing) for thing in part], part))
                if len(ahead) > 2 * threads:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()
        finally:
            stop()
            for future in ahead:
                future.cancel()
