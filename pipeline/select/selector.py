"""What a selector is, and what those that work by clusters share."""

import heapq
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy import ndarray

from pipeline.params import Block
from pipeline.select.geometry import centred, resolution, sq_dists

CHUNK = 8192  # rows whose distances to one pick or to the picks are in memory at a time


@dataclass(frozen=True)
class Picks:
    """Row numbers of the images to label, best first. What a score means is said by the selector; none increases."""

    rows: Int64[ndarray, " b"]
    scores: Float[ndarray, " b"]

    def __post_init__(self) -> None:
        assert len(np.unique(self.rows)) == len(self.rows), "a selector picked a row twice"
        assert np.isfinite(self.scores).all(), "a selector gave a score that is no number"
        assert (np.diff(self.scores) <= 0).all(), "a selector's picks are not best first"


class Selector(Block, ABC):
    """A frozen value whose fields are its params, with one verb."""

    @abstractmethod
    def select(self, x: Float32[ndarray, "n d"], budget: int, seed: int) -> Picks:
        """Picks `budget` of the n rows, 1 to n; all chance comes from streams of `seed` that bear the method's name."""


def best_of_each(cluster: Int64[ndarray, " n"], value: Float[ndarray, " n"]) -> Int64[ndarray, " k"]:
    """For each of the clusters 0 to k - 1, none of them empty, the row of highest value; on ties the lowest row."""
    best = np.full(cluster.max() + 1, -np.inf, value.dtype)
    np.maximum.at(best, cluster, value)
    hits = np.flatnonzero(value == best[cluster])
    return hits[np.unique(cluster[hits], return_index=True)[1]]


def from_clusters(
    x: Float32[ndarray, "n d"], rows: Int64[ndarray, " k"], cluster: Int64[ndarray, " n"], budget: int
) -> Picks:
    """Picks of one row for each cluster, `rows[c]` for cluster c, in the order in which they are best labelled.

    Each next pick is the one that most lowers the mean, over all images, of the sq_dist from the pick of the image's
    cluster to the nearest pick so far, and that gain is its score; so whoever labels the first half alone has a good
    selection of that size. Where there are fewer clusters than the budget, because k-means left some empty, the images
    `farthest` from all picks so far come last, with score 0.
    """
    order, gains = coverage_order(centred(x)[rows], np.bincount(cluster) / len(x))
    more = farthest(x, rows, budget - len(rows))
    return Picks(np.concatenate([rows[order], more]), np.concatenate([gains, np.zeros(len(more))]))


def coverage_order(
    x: Float32[ndarray, "k d"], share: Float[ndarray, " k"]
) -> tuple[Int64[ndarray, " k"], Float[ndarray, " k"]]:
    """All rows of x, each the one that most lowers sum_j share_j min_s sq_dist(j, s) over the rows s so far; its gains.

    Gains only shrink as rows are added, so one from an earlier round is a bound, and few are computed again (Minoux
    1978). Before the first row every sq_dist is four times the largest square: no two rows are farther apart.
    """
    squares = np.einsum("kd,kd->k", x, x)
    gap = np.full(len(x), 4 * squares.max(), np.float32)  # sq_dist to the nearest row so far

    def sq_dist(row: int) -> Float32[ndarray, " k"]:
        return np.maximum(squares + squares[row] - 2 * (x @ x[row]), 0)

    bounds = [(-np.inf, row, -1) for row in range(len(x))]  # negative gain, row, the round in which it was computed
    order: list[int] = []
    gains: list[float] = []
    while bounds:
        gain, row, computed = heapq.heappop(bounds)
        if computed == len(order):
            order.append(row)
            gains.append(-gain)
            gap = np.minimum(gap, sq_dist(row))
        else:
            heapq.heappush(bounds, (-float(share @ np.maximum(gap - sq_dist(row), 0)), row, len(order)))
    # Rounding may let a gain rise by its last digit.
    return np.array(order), np.minimum.accumulate(gains)


def farthest(x: Float32[ndarray, "n d"], rows: Int64[ndarray, " k"], count: int) -> Int64[ndarray, " b"]:
    """`count` rows that are not among `rows`, each the farthest from `rows` and those before it.

    Images nearer than float32 can tell apart count as one; where nothing else is left, the lowest rows follow.
    """
    more: list[int] = []
    if count == 0:
        return np.array(more, np.int64)
    x = centred(x)
    floor = resolution(x)
    free = np.ones(len(x), bool)
    free[rows] = False
    gap = np.full(len(x), np.inf, np.float32)  # sq_dist to the nearest pick

    def near(picks: Int64[ndarray, " p"]) -> None:
        for start in range(0, len(x), CHUNK):
            part = slice(start, start + CHUNK)
            np.minimum(gap[part], sq_dists(x[part], x[picks]).min(axis=1), out=gap[part])

    for start in range(0, len(rows), CHUNK):
        near(rows[start : start + CHUNK])
    while len(more) < count:
        gap[(gap <= floor) | ~free] = 0
        row = int(gap.argmax())
        if gap[row] == 0:
            return np.concatenate([np.array(more, np.int64), np.flatnonzero(free)[: count - len(more)]])
        more.append(row)
        free[row] = False
        near(np.array([row]))
    return np.array(more, np.int64)
