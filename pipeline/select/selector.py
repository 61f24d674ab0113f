"""What a selector is, and what those that work by clusters share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64
from numpy import ndarray

from pipeline.artifacts.on_disk import Parts
from pipeline.base.params import Block
from pipeline.select.geometry import QUERIES, lowered, raised, spans, sq_dists
from pipeline.select.pool import Pool

CHUNK = 8192  # picks whose distances to a block of rows are in memory at a time


@dataclass(frozen=True)
class Picks:
    """Row numbers of the images to label, best first. What a score means is said by the selector; none increases.

    `about` is what the record says of this selection beyond its params: values that were found, approximations.
    """

    rows: Int64[ndarray, " b"]
    scores: Float[ndarray, " b"]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert len(np.unique(self.rows)) == len(self.rows), "a selector picked a row twice"
        assert np.isfinite(self.scores).all(), "a selector gave a score that is no number"
        assert (np.diff(self.scores) <= 0).all(), "a selector's picks are not best first"


class Selector(Block, ABC):
    """A frozen value whose fields are its params, with one verb."""

    needs_outputs: ClassVar[bool] = False  # whether it reads `pool.outputs`
    out_of_core: ClassVar[bool] = False  # whether vectors on disk will do: `pool.space.rows`, never `pool.x`

    @abstractmethod
    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        """Picks `budget` of the free rows, 1 to as many as there are, in addition to the labelled ones.

        All chance comes from streams of `seed` that bear the method's name, but for that of inverted lists and their
        recall, which are the same under every seed.
        """


def best_of_each(
    cluster: Int64[ndarray, " n"], value: Float[ndarray, " n"], free: Bool[ndarray, " n"]
) -> Int64[ndarray, " k"]:
    """For each cluster that has a free row, by number, the free row of highest value; on ties the lowest row."""
    best = np.full(cluster.max() + 1, -np.inf)
    np.maximum.at(best, cluster[free], value[free])
    hits = np.flatnonzero((value == best[cluster]) & free)
    return hits[np.unique(cluster[hits], return_index=True)[1]]


def uncovered(pool: Pool, cluster: Int64[ndarray, " n"]) -> Bool[ndarray, " n"]:
    """The free rows of clusters without a labelled row."""
    covered = np.zeros(cluster.max() + 1, bool)
    covered[cluster[pool.labelled]] = True
    return pool.free & ~covered[cluster]


def from_clusters(pool: Pool, rows: Int64[ndarray, " k"], cluster: Int64[ndarray, " n"], budget: int) -> Picks:
    """`covering`, where each row stands for the images of its cluster."""
    return covering(pool, rows, np.bincount(cluster)[cluster[rows]], budget)


def covering(pool: Pool, rows: Int64[ndarray, " k"], count: Int64[ndarray, " k"], budget: int) -> Picks:
    """Picks among `rows`, one for each cluster that has none labelled, in the order in which they are best labelled.

    `count` says how many images each row's cluster has. Each next pick is the one that most lowers the mean, over the
    images of these clusters, of the sq_dist from the row of the image's cluster to the nearest pick so far or labelled
    row; that gain is its score. So whoever labels the first half alone has a good selection of that size. Where there
    are fewer clusters than the budget, because k-means left some empty or all of their images are barred, the images
    `farthest` from all picks so far come last, score 0; out of core, those of the pool thinned.
    """
    x = pool.space.centred_rows
    gap = nearest_of(x, rows, pool.labelled)
    order, gains = coverage_order(x[rows], count / len(x), gap, budget)
    more = np.empty(0, np.int64)
    if len(order) < budget:
        few, numbers = pool.thinned(rows[order])
        more = numbers[farthest(few, np.searchsorted(numbers, rows[order]), budget - len(order))[0]]
    return Picks(np.concatenate([rows[order], more]), np.concatenate([gains, np.zeros(len(more))]), pool.space.about)


def coverage_order(
    x: Float32[ndarray, "k d"], share: Float[ndarray, " k"], gap: Float32[ndarray, " k"], count: int
) -> tuple[Int64[ndarray, " b"], Float[ndarray, " b"]]:
    """`count` rows of x at most, each the one that most lowers sum_j share_j min_s sq_dist(j, s) for rows s so far.

    `gap` is each row's sq_dist to what is covered already. Where that is inf it counts as four times the largest
    square: no two of the rows are farther apart. Also returns what each row lowers the sum by.
    """
    squares = np.einsum("kd,kd->k", x, x)
    gap = np.minimum(gap, 4 * squares.max(initial=0)).astype(np.float32)
    left, right = lowered(x), raised(x).T.copy()
    gains = np.zeros(len(x))
    order, scores = np.empty(min(count, len(x)), np.int64), np.empty(min(count, len(x)))

    def add(rows: Int64[ndarray, " r"], before: Float32[ndarray, " r"], after: Float32[ndarray, " r"]) -> None:
        """Brings all gains up to date with the gap of these rows alone."""
        for part in spans(len(rows), max(1, CHUNK * CHUNK // 8 // max(1, len(x)))):
            sq_dist = np.maximum(left[rows[part]] @ right, 0)
            lost = np.maximum(before[part, None] - sq_dist, 0)
            lost -= np.maximum(np.subtract(after[part, None], sq_dist, out=sq_dist), 0, out=sq_dist)
            gains[:] -= share[rows[part]] @ lost

    add(np.arange(len(x)), np.zeros_like(gap), gap)
    for place in range(len(order)):
        row = int(gains.argmax())
        order[place], scores[place] = row, gains[row]
        after = np.minimum(gap, np.maximum(left[row] @ right, 0))
        changed = np.flatnonzero(after < gap)
        add(changed, gap[changed], after[changed])
        gap, gains[row] = after, -np.inf
    # Rounding may let a gain rise by its last digit.
    return order, np.maximum(np.minimum.accumulate(scores), 0)


def nearest_of(
    x: Float32[ndarray | Parts, "n d"], rows: Int64[ndarray, " r"], to: Int64[ndarray, " k"]
) -> Float32[ndarray, " r"]:
    """The sq_dist of each of the `rows` to the nearest of the rows `to`; inf where there are none."""
    gap = np.full(len(rows), np.inf, np.float32)
    for start in range(0, len(to), CHUNK):
        right = x[to[start : start + CHUNK]]
        for part in spans(len(rows), QUERIES):
            np.minimum(gap[part], sq_dists(x[rows[part]], right).min(axis=1), out=gap[part])
    return gap


def farthest(pool: Pool, rows: Int64[ndarray, " k"], count: int) -> tuple[Int64[ndarray, " b"], Float32[ndarray, " b"]]:
    """`count` free rows that are not among `rows`, each the farthest from `rows`, the labelled and those before it.

    Also returns their sq_dist from these, inf if there is nothing to be far from. Images nearer than float32 can tell
    apart count as one, at 0; where nothing else is left, the lowest rows follow.
    """
    more: list[int] = []
    gaps: list[float] = []
    if count == 0:
        return np.array(more, np.int64), np.array(gaps, np.float32)
    x = pool.space.centred
    free = pool.free.copy()
    free[rows] = False
    gap = nearest_of(x, np.arange(len(x)), np.concatenate([pool.labelled, rows]))
    while len(more) < count:
        gap[(gap <= pool.space.floor) | ~free] = 0
        row = int(gap.argmax())
        if gap[row] == 0:
            rest = np.flatnonzero(free)[: count - len(more)]
            return np.concatenate([np.array(more, np.int64), rest]), np.array(gaps + [0.0] * len(rest), np.float32)
        more.append(row)
        gaps.append(float(gap[row]))
        free[row] = False
        np.minimum(gap, nearest_of(x, np.arange(len(x)), np.array([row])), out=gap)
    return np.array(more, np.int64), np.array(gaps, np.float32)
