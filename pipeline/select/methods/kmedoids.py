"""k-medoids by FasterPAM (Schubert and Rousseeuw, Information Systems 101, 2021, algorithm 3), on a sample."""

import math

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy import ndarray
from pydantic import Field

from pipeline.base import rng
from pipeline.select.by_cluster import best_of_each, from_clusters, uncovered
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector
from pipeline.vectors.geometry import assign, sq_dists
from pipeline.vectors.rows import blocks

LEAST_GAIN = 1e-9  # share of the sum of distances that a swap must gain


class KMedoids(Selector):
    """The images whose sum of Euclidean distances from all to the nearest cannot be lowered by any one swap.

    There are as many medoids as labelled images and picks together. Every image joins its nearest medoid; clusters with
    a labelled image give no pick, the others give their free image nearest to the medoid. Order and scores:
    `from_clusters`. Approximation: medoids are sought in, and for, `sample` images drawn at random, as many as have
    their distances in half of `search.memory_mb`. Where the sample is smaller than the number of medoids, the rest of
    the picks is `farthest` from these.
    """

    sample: int = Field(ge=1)

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        x = pool.space.centred
        size = min(len(x), self.sample, math.isqrt(pool.space.search.memory_mb * 2**20 // 8))
        sample = rng.stream(seed, "select", "kmedoids").permutation(len(x))[:size]
        chosen = medoids(distances(x[sample], pool.space.copy_sq_dist), min(budget + len(pool.labelled), size))
        nearest, sq_dist = assign(x, x[sample[chosen]])
        cluster = np.unique(nearest, return_inverse=True)[1].astype(np.int64)
        picks = from_clusters(pool, best_of_each(cluster, -sq_dist, uncovered(pool, cluster)), cluster, budget)
        return Picks(picks.rows, picks.scores, {**picks.about, "sample": size})


def distances(x: Float32[ndarray, "m d"], copy_sq_dist: float) -> Float32[ndarray, "m m"]:
    """Euclidean distances of centred rows; copies are at 0."""
    out = sq_dists(x, x)
    out[out < copy_sq_dist] = 0
    return np.sqrt(out, out=out)


def medoids(distance: Float32[ndarray, "m m"], k: int) -> Int64[ndarray, " k"]:
    """The k rows that no swap of one for another row improves, reached from the first k; where k = 1, the best row.

    Rows are tried in turn, and the best swap with a row is made at once if it gains anything. What each swap changes is
    known at once for all k: an image o at distance d to the row adds min(d - first(o), 0), whichever medoid leaves; and
    if its own does, max(d, first(o)) - second(o) where d < second(o), on top of second(o) - first(o).
    """
    if k == 1:
        return distance.sum(axis=1, dtype=np.float64).argmin(keepdims=True)
    chosen, tried, row = np.arange(k), 0, k
    own, first, other, second = closest_two(distance, chosen, np.arange(len(distance)))
    leaving = np.bincount(own, second - first, k)
    while tried < len(distance):
        row, tried = row % len(distance), tried + 1
        d = distance[row]
        close = np.flatnonzero(d < second)
        change = leaving + np.bincount(own[close], np.maximum(d[close], first[close]) - second[close], k)
        change += np.minimum(d[close] - first[close], 0).sum()
        out = int(change.argmin())
        if change[out] < -LEAST_GAIN * first.sum():
            chosen[out], tried = row, 0
            behind = (own != out) & (d < second)
            second[behind], other[behind] = d[behind], out
            ahead = behind & (d < first)
            second[ahead], other[ahead] = first[ahead], own[ahead]
            first[ahead], own[ahead] = d[ahead], out
            lost = np.flatnonzero(((own == out) & ~ahead) | ((other == out) & ~behind))
            own[lost], first[lost], other[lost], second[lost] = closest_two(distance, chosen, lost)
            leaving = np.bincount(own, second - first, k)
        row += 1
    return chosen


def closest_two(
    distance: Float32[ndarray, "m m"], chosen: Int64[ndarray, " k"], rows: Int64[ndarray, " r"]
) -> tuple[Int64[ndarray, " r"], Float64[ndarray, " r"], Int64[ndarray, " r"], Float64[ndarray, " r"]]:
    """For each of the rows which of the chosen is nearest, its distance; which is second, its distance."""
    own, other = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    first, second = np.empty(len(rows)), np.empty(len(rows))
    for part in blocks(len(rows), len(chosen)):
        # Rows of the matrix are medoids, as in the swaps: rounding may make it a little asymmetric.
        block, places = distance[np.ix_(chosen, rows[part])].T, np.arange(len(rows[part]))
        own[part] = block.argmin(axis=1)
        first[part] = block[places, own[part]]
        block[places, own[part]] = np.inf
        other[part] = block.argmin(axis=1)
        second[part] = block[places, other[part]]
    return own, first, other, second
