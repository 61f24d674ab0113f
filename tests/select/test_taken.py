"""What is taken, which rows are copies of it, and what follows when nothing else is left; and rows of unit length."""

import numpy as np
import pytest

from pipeline.select.sphere import on_sphere
from pipeline.select.taken import Taken, farthest, without
from pipeline.vectors.geometry import unit
from tests.pools import cloud, pool


def test_rows_of_unit_length_keep_their_pool_and_what_it_knows():
    for x in (cloud(20), cloud(20).astype(np.float16).astype(np.float32)):
        given = pool(x)
        assert on_sphere(given) is given


def test_other_rows_are_brought_to_unit_length_or_stay_zero():
    x = cloud(5) * np.array([[1e-18], [1e15], [1], [0], [3]], np.float32)
    found = on_sphere(pool(x, labelled=(1,), barred=(2,)))
    assert found.x == pytest.approx(cloud(5) * [[1], [1], [1], [0], [1]], abs=1e-6)
    assert (found.labelled.tolist(), found.barred.tolist()) == ([1], [False, False, True, False, False])
    for length in (1e-30, 1e30):
        assert unit(cloud(9) * np.float32(length)) == pytest.approx(cloud(9), abs=1e-6)


def test_copies_of_labelled_rows_and_of_picks_are_told():
    x = np.repeat(cloud(4, 64), 2, axis=0)
    x[1] *= np.float32(1 + 1e-7)
    taken = Taken.of(pool(x, labelled=(0,)), 2)
    assert taken.copies(np.arange(8)).tolist() == [True, True] + [False] * 6
    taken.add(np.array([5]))
    assert taken.copies(np.array([5, 4, 3])).tolist() == [True, True, False]
    assert not Taken.of(pool(x), 1).copies(np.arange(8)).any()


def test_distinct_rows_are_no_copies_of_those_before_them():
    x = np.repeat(cloud(6), 2, axis=0)
    taken = Taken.of(pool(x, labelled=(0,)), 6)
    assert list(taken.take_distinct(np.array([1, 2, 5, 3, 4, 11]))) == [2, 5, 11]
    assert list(taken.take_distinct(np.array([10, 7]))) == [7]


def test_rows_that_are_barred_bar_their_copies():
    x = np.repeat(cloud(4, 64), 2, axis=0)
    given = pool(x, labelled=(0,), barred=(7,))
    assert without(given, np.array([2])).free.tolist() == [False, True, False, False, True, True, True, False]
    assert without(given, np.array([], np.int64)).free.tolist() == given.free.tolist()


def test_farthest_is_gonzalez_with_the_lowest_row_on_ties():
    x = np.array([[0], [10], [10], [4], [6]], np.float32)
    rows, gaps = farthest(pool(x), np.array([0]), 4)
    assert rows.tolist() == [1, 3, 4, 2]
    assert gaps.tolist() == pytest.approx([100, 16, 4, 0])
    assert farthest(pool(x, labelled=(0,)), np.empty(0, np.int64), 2)[0].tolist() == [1, 3]
    assert farthest(pool(x, barred=(1, 3)), np.array([0]), 2)[0].tolist() == [2, 4]
    assert farthest(pool(x), np.array([0]), 0)[0].tolist() == []


def test_farthest_takes_copies_last_and_in_order_though_float32_tells_them_apart():
    x = np.repeat(cloud(5, 64), 3, axis=0)
    found = farthest(pool(x), np.array([0]), 14)[0].tolist()
    assert sorted(row // 3 for row in found[:4]) == [1, 2, 3, 4]
    assert found[4:] == sorted(found[4:])
