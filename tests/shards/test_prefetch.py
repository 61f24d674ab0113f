"""Batches that are prepared ahead: in order, as many as asked for, and gone when they are no longer wanted."""

import threading
import time
from itertools import count

import pytest

from pipeline.shards.by_step import ByStep
from pipeline.shards.prefetch import AHEAD, CHUNK, Job, Prefetcher
from pipeline.shards.reader import Reader
from tests.shards.watch import workers


class Reads(Reader):
    """Stands for a reader; notes the numbers that threads ask for, and holds them up from `held` on until `go`."""

    def __init__(self):
        self.numbers, self.ended, self.held = [], [], 10**9
        self.begun, self.go = threading.Event(), threading.Event()

    def read(self, number, _decoded=None):
        self.numbers.append(number)
        if number >= self.held:
            self.begun.set()
            self.go.wait(20)
        return -number

    def stop(self):
        self.ended.append("stop")

    def close(self):
        self.ended.append("close")

    def settled(self, least):
        """How many were read once there are `least` and nothing more comes."""
        end = time.monotonic() + 20
        while len(self.numbers) < least and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        return len(self.numbers)


@pytest.fixture
def reads():
    return Reads()


@pytest.fixture
def made(reads):
    """Makes prefetchers, which are closed at the end."""
    found = []

    def make(threads=2):
        found.append(Prefetcher(reads, threads))
        return found[-1]

    yield make
    reads.go.set()
    for prefetcher in found:
        prefetcher.close()


def job(reads, step, size=10):
    """The numbers of a step, each by its own call."""
    batch = [None] * size

    def fill(i):
        batch[i] = reads.read(size * step + i)

    return Job(batch, size, fill)


def by_step(prefetcher, reads, size=10):
    return ByStep(lambda step: prefetcher.batches(job(reads, at, size) for at in count(step)))


@pytest.mark.parametrize("threads", [1, 5])
@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * CHUNK + 1])
def test_batches_are_full_and_in_order(threads, size, made, reads):
    batches = list(made(threads).batches(job(reads, step, size) for step in range(9)))
    assert batches == [[-(size * step + i) for i in range(size)] for step in range(9)]
    assert sorted(reads.numbers) == list(range(9 * size))


def test_the_next_batches_are_prepared_meanwhile_and_no_more(made, reads):
    value = by_step(made(), reads)
    for taken in range(1, 4):
        value(taken - 1)
        assert reads.settled(10 * (taken + AHEAD)) == 10 * (taken + AHEAD)
    value(40)  # what was prepared is of no use
    assert reads.settled(10 * (4 + 2 * AHEAD)) == 10 * (4 + 2 * AHEAD)


def test_a_step_is_the_same_whatever_was_asked_before(made, reads):
    value = by_step(made(), reads, size=2)
    for step in (0, 1, 2, 7, 3, 3, 4, 0):
        assert value(step) == [-2 * step, -2 * step - 1]


@pytest.mark.parametrize("how", ["another step", "dropped", "closed"])
def test_what_has_not_begun_is_cancelled(how, made, reads):
    size = reads.held = 3 * CHUNK
    prefetcher = made(threads=1)
    value = by_step(prefetcher, reads, size)
    value(0)
    assert reads.begun.wait(20)  # the thread is held at the first image of the next batch
    threading.Timer(0.2, reads.go.set).start()
    if how == "another step":
        assert value(100)[0] == -100 * size
    elif how == "dropped":
        del value
    else:
        prefetcher.close()
    assert reads.settled(size + CHUNK) >= size + CHUNK
    assert [n for n in reads.numbers if n < 100 * size] == list(range(size + CHUNK))  # what the thread had taken up


def test_an_error_is_raised_where_its_batch_is_due_and_again(made):
    def spoilt(step):
        def fill(i):
            if (step, i) == (3, 5):
                raise OSError("spoilt")
            batch[i] = 10 * step + i

        batch = [None] * 10
        return Job(batch, 10, fill)

    prefetcher = made()
    value = ByStep(lambda step: prefetcher.batches(map(spoilt, count(step))))
    for step in range(3):
        value(step)
    for _ in range(2):
        with pytest.raises(OSError, match=r"^spoilt$"):
            value(3)
    assert value(4)[0] == 40


def test_closing_ends_threads_then_the_reader_in_any_order_and_twice(made, reads):
    prefetcher = made(threads=3)
    value = by_step(prefetcher, reads)
    value(0)
    assert 1 <= len(workers()) <= 3
    prefetcher.close()
    assert workers() == []
    assert reads.ended == ["stop", "close"]
    del value
    prefetcher.close()
    assert reads.ended == ["stop", "close"]


def test_map_gives_results_in_order(made, reads):
    assert list(made(3).map(reads.read, range(20))) == [-n for n in range(20)]
