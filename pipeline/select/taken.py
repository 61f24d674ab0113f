"""The labelled rows and the picks so far: how far others are from them, and which are copies of one of them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64
from numpy import ndarray

from pipeline.artifacts.on_disk import Parts
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks
from pipeline.vectors import geometry
from pipeline.vectors.geometry import left_factor, right_factor, sq_dists
from pipeline.vectors.rows import spans

TOGETHER = 1024  # rows that are compared with the taken ones together, before each is compared alone


class Taken:
    """Rows that are taken, for a selector that asks one by one which may follow."""

    def __init__(self, x: Float32[ndarray, "n d"], copy_sq_dist: float, room: int) -> None:
        """None at first, `room` at most; rows of a squared distance below `copy_sq_dist` are copies of each other."""
        self._x, self._copy_sq_dist, self._count = x, copy_sq_dist, 0
        self._left: Float32[ndarray, "t e"] = np.empty((room, x.shape[1] + 2), np.float32)

    @classmethod
    def of(cls, pool: Pool, room: int) -> "Taken":
        """The labelled rows of a pool, with room for so many more."""
        taken = cls(pool.space.centred, pool.space.copy_sq_dist, len(pool.labelled) + room)
        taken.add(pool.labelled)
        return taken

    def add(self, rows: Int64[ndarray, " r"]) -> None:
        self._left[self._count : self._count + len(rows)] = left_factor(self._x[rows])
        self._count += len(rows)

    def copies(self, rows: Int64[ndarray, " r"]) -> Bool[ndarray, " r"]:
        """Which of the rows are copies of one that is taken."""
        sq_dist = self._left[: self._count] @ right_factor(self._x[rows]).T
        return sq_dist.min(axis=0, initial=np.inf) < self._copy_sq_dist

    def take_distinct(self, rows: Int64[ndarray, " r"]) -> Iterator[int]:
        """Takes and yields, in order, each of the rows that is no copy of what is taken when its turn comes."""
        for part in spans(len(rows), TOGETHER):
            for row in rows[part][~self.copies(rows[part])]:
                one = np.array([row])
                if not self.copies(one)[0]:
                    self.add(one)
                    yield int(row)


def min_sq_dist(
    x: Float32[ndarray | Parts, "n d"], rows: Int64[ndarray, " r"], to: Int64[ndarray, " k"]
) -> Float32[ndarray, " r"]:
    """The squared distance of each of the `rows` to the nearest of the rows `to`; inf if there are none."""
    least = np.full(len(rows), np.inf, np.float32)
    for points in spans(len(to), geometry.POINTS):
        right = x[to[points]]
        for part in spans(len(rows), geometry.QUERIES):
            np.minimum(least[part], sq_dists(x[rows[part]], right).min(axis=1), out=least[part])
    return least


def without(pool: Pool, rows: Int64[ndarray, " k"]) -> Pool:
    """The pool, where these rows are barred, and copies of them too, unless the vectors are on disk."""
    barred = pool.barred.copy()
    barred[rows] = True
    if len(rows) and isinstance(pool.space.rows, ndarray):
        x = pool.space.centred
        barred |= min_sq_dist(x, np.arange(len(x)), rows) < pool.space.copy_sq_dist
    return replace(pool, barred=barred)


def farthest(pool: Pool, rows: Int64[ndarray, " k"], count: int) -> tuple[Int64[ndarray, " b"], Float32[ndarray, " b"]]:
    """`count` free rows that are not among `rows`, each the farthest from `rows`, the labelled and those before it.

    Also returns their squared distances from these, inf if there is nothing to be far from. Copies are at 0; if only
    copies are left, the lowest rows follow.
    """
    more: list[int] = []
    gaps: list[float] = []
    if count == 0:
        return np.array(more, np.int64), np.array(gaps, np.float32)
    x = pool.space.centred
    free = pool.free.copy()
    free[rows] = False
    gap = min_sq_dist(x, np.arange(len(x)), np.concatenate([pool.labelled, rows]))
    while len(more) < count:
        gap[(gap < pool.space.copy_sq_dist) | ~free] = 0
        row = int(gap.argmax())
        if gap[row] == 0:
            rest = np.flatnonzero(free)[: count - len(more)]
            return np.concatenate([np.array(more, np.int64), rest]), np.array(gaps + [0.0] * len(rest), np.float32)
        more.append(row)
        gaps.append(float(gap[row]))
        free[row] = False
        np.minimum(gap, min_sq_dist(x, np.arange(len(x)), np.array([row])), out=gap)
    return np.array(more, np.int64), np.array(gaps, np.float32)


def filled_up(
    pool: Pool,
    rows: Int64[ndarray, " k"],
    scores: Float[ndarray, " k"],
    budget: int,
    about: Mapping[str, Any],
    last: float = 0.0,
) -> Picks:
    """The rows as picks; if they are fewer than the budget, the `farthest` images from all follow at score `last`.

    Out of core these are the farthest of a subsample.
    """
    more = np.empty(0, np.int64)
    if len(rows) < budget:
        few, numbers = pool.subsampled(rows)
        more = numbers[farthest(few, np.searchsorted(numbers, rows), budget - len(rows))[0]]
    return Picks(np.concatenate([rows, more]), np.concatenate([scores, np.full(len(more), last)]), about)
