"""The map in threads: the order of the things, few ahead, and an end for what nobody waits for any more."""

import threading
import time

import pytest

from pipeline.parallel.threads import map_in_order


@pytest.mark.parametrize(("chunk", "threads"), [(1, 1), (1, 3), (16, 2), (7, None)])
def test_results_come_in_the_order_of_the_things(chunk, threads):
    def work(n):
        time.sleep(0.002 * (n % 3))
        return n * n

    assert list(map_in_order(work, range(50), chunk, threads)) == [n * n for n in range(50)]
    assert list(map_in_order(work, [], chunk, threads)) == []


def test_few_things_are_taken_before_their_results_are_asked_for():
    taken = []
    results = map_in_order(lambda n: n, (taken.append(n) or n for n in range(1000)), chunk=2, threads=2)
    assert next(results) == 0
    assert len(taken) <= 2 * (2 * 2 + 1)
    results.close()


@pytest.mark.parametrize("fails", [True, False])
def test_the_rest_is_stopped_where_work_fails_or_the_caller_leaves(fails):
    stop, begun = threading.Event(), []

    def work(n):
        begun.append(n)
        if n == 0:
            if fails:
                raise KeyError(n)
            return n
        assert stop.wait(5)
        return n

    results = map_in_order(work, range(100), chunk=1, threads=2, stop=stop.set)
    if fails:
        with pytest.raises(KeyError):
            next(results)
    else:
        next(results)
        results.close()
    assert stop.is_set()
    assert len(begun) <= 5
