"""The image nearest to each k-means centroid."""

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from pipeline.base import rng
from pipeline.select.clustering import Centroids, Lloyd, learn
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector, best_of_each, covering


class KMeans(Lloyd, Selector):
    """One image for each cluster without a labelled one: the nearest to the centroid, within its cluster.

    There are as many clusters as labelled images and picks together. Restarts matter: with few clusters, single runs
    end in quite different optima. Order and scores: `covering`.
    """

    out_of_core = True

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        """See `Selector`."""
        number = rng.number(seed, "select", "kmeans")
        memory_mb = pool.space.search.memory_mb
        rows, count = nearest_rows(pool, learn(pool.space.rows, budget + len(pool.labelled), self, number, memory_mb))
        return covering(pool, rows, count, budget)


def nearest_rows(pool: Pool, centroids: Centroids) -> tuple[Int64[ndarray, " c"], Int64[ndarray, " c"]]:
    """For each cluster with a free row and no labelled one its free row nearest to the centroid, and how many it has.

    One pass over the rows; on ties the lowest row.
    """
    k, labelled = len(centroids), np.sort(pool.labelled)
    row, sq_least = np.full(k, -1), np.full(k, np.inf, np.float32)
    count, covered = np.zeros(k, np.int64), np.zeros(k, bool)
    for part, cluster, sq_dist in centroids.nearest(pool.space.rows):
        count += np.bincount(cluster, minlength=k)
        first, last = np.searchsorted(labelled, (part.start, part.stop))
        covered[cluster[labelled[first:last] - part.start]] = True
        nearer = np.flatnonzero(pool.free[part] & (sq_dist < sq_least[cluster]))
        if len(nearer):
            best = nearer[best_of_each(cluster[nearer], -sq_dist[nearer], np.ones(len(nearer), bool))]
            row[cluster[best]], sq_least[cluster[best]] = part.start + best, sq_dist[best]
    found = np.flatnonzero((row >= 0) & ~covered)
    return row[found], count[found]
