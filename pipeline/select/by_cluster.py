"""What selectors by clusters share: one pick for each cluster, in the order in which they are best labelled."""

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64
from numpy import ndarray

from pipeline.base import rng
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks
from pipeline.select.taken import filled_up, min_sq_dist
from pipeline.vectors import geometry
from pipeline.vectors.clustering import Centroids, KMeansParams, learn
from pipeline.vectors.geometry import left_factor, right_factor
from pipeline.vectors.rows import blocks


def kmeans_picks(pool: Pool, budget: int, params: KMeansParams, seed: int) -> Picks:
    """Of each k-means cluster without a labelled row the free row nearest to its centroid; see `covering`.

    There are as many clusters as labelled rows and picks together.
    """
    number, k = rng.number(seed, "select", "kmeans"), budget + len(pool.labelled)
    centroids = learn(pool.space.rows, k, params, number, pool.space.search.memory_mb)
    return covering(pool, *representatives(pool, centroids), budget)


def representatives(pool: Pool, centroids: Centroids) -> tuple[Int64[ndarray, " c"], Int64[ndarray, " c"]]:
    """For each cluster with a free row and no labelled one its free row nearest to the centroid, and its size.

    One pass over the rows; on ties the lowest row.
    """
    k, labelled = len(centroids), np.sort(pool.labelled)
    row, least = np.full(k, -1), np.full(k, np.inf, np.float32)
    size, covered = np.zeros(k, np.int64), np.zeros(k, bool)
    for part, cluster, sq_dist in centroids.assign(pool.space.rows):
        size += np.bincount(cluster, minlength=k)
        first, last = np.searchsorted(labelled, (part.start, part.stop))
        covered[cluster[labelled[first:last] - part.start]] = True
        nearer = np.flatnonzero(pool.free[part] & (sq_dist < least[cluster]))
        if len(nearer):
            best = nearer[best_of_each(cluster[nearer], -sq_dist[nearer], np.ones(len(nearer), bool))]
            row[cluster[best]], least[cluster[best]] = part.start + best, sq_dist[best]
    usable = np.flatnonzero((row >= 0) & ~covered)
    return row[usable], size[usable]


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


def covering(pool: Pool, rows: Int64[ndarray, " k"], size: Int64[ndarray, " k"], budget: int) -> Picks:
    """Picks among `rows`, one for each cluster without a labelled image, in the order in which they are best labelled.

    `size` is the number of images in each row's cluster. Each next pick is the one that most lowers the mean, over the
    images of these clusters, of the squared distance from the row of the image's cluster to the nearest pick so far or
    labelled row; that gain is its score. So whoever labels the first half alone has a good selection of that size.
    There may be fewer clusters than the budget, because k-means left some empty or all of their images are barred. Then
    the images farthest from all picks so far come last, at score 0 (`filled_up`).
    """
    x = pool.space.centred_rows
    order, gains = coverage_order(x[rows], size / len(x), min_sq_dist(x, rows, pool.labelled), budget)
    return filled_up(pool, rows[order], gains, budget, pool.space.about)


def coverage_order(
    x: Float32[ndarray, "k d"], share: Float[ndarray, " k"], gap: Float32[ndarray, " k"], count: int
) -> tuple[Int64[ndarray, " b"], Float[ndarray, " b"]]:
    """`count` rows of x at most, each the one that most lowers sum_j share_j min_s sq_dist(j, s) for rows s so far.

    `gap` is each row's squared distance to what is covered already. If it is inf, it counts as four times the largest
    square: no two of the rows are farther apart. Also returns what each row lowers the sum by.
    """
    squares = np.einsum("kd,kd->k", x, x)
    gap = np.minimum(gap, 4 * squares.max(initial=0)).astype(np.float32)
    left, right = left_factor(x), right_factor(x).T.copy()
    gains = np.zeros(len(x))
    order, scores = np.empty(min(count, len(x)), np.int64), np.empty(min(count, len(x)))

    def add(rows: Int64[ndarray, " r"], before: Float32[ndarray, " r"], after: Float32[ndarray, " r"]) -> None:
        """Brings all gains up to date with the gap of these rows alone."""
        for part in blocks(len(rows), max(1, len(x)), geometry.QUERIES * geometry.POINTS):
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
