"""Work on a stream of things in threads, results in the order of the things, few of them in memory at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from pipeline.parallel.cores import cores

T = TypeVar("T")
R = TypeVar("R")


def map_in_order(
    work: Callable[[T], R], things: Iterable[T], chunk: int = 16, threads: int | None = None
) -> Iterator[R]:
    """`map`, over chunks in threads, one a core of this process unless told; at most two chunks a thread ahead."""
    threads = threads or cores()
    source = iter(things)
    ahead: deque[Future[list[R]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        while part := list(islice(source, chunk)):
            ahead.append(pool.submit(lambda part: [work(thing) for thing in part], part))
            if len(ahead) > 2 * threads:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()
