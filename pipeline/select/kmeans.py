"""The image nearest to each k-means centroid."""

from pipeline import rng
from pipeline.select.neighbours import Lloyd, kmeans
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector, best_of_each, from_clusters, uncovered


class KMeans(Lloyd, Selector):
    """One image for each cluster without a labelled one: the nearest to the centroid, within its cluster.

    There are as many clusters as labelled images and picks together. Restarts matter: with few clusters, single runs
    end in quite different optima. Order and scores: `from_clusters`.
    """

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        """See `Selector`."""
        number = rng.number(seed, "select", "kmeans")
        found = kmeans(pool.x, budget + len(pool.labelled), self, number, pool.space.search.memory_mb)
        rows = best_of_each(found.cluster, -found.sq_dist, uncovered(pool, found.cluster))
        return from_clusters(pool, rows, found.cluster, budget)
