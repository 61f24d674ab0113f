"""The image nearest to each k-means centroid."""

from jaxtyping import Float32
from numpy import ndarray

from pipeline import rng
from pipeline.select.neighbours import Lloyd, kmeans
from pipeline.select.selector import Picks, Selector, best_of_each, from_clusters


class KMeans(Lloyd, Selector):
    """One image for each of `budget` clusters: the nearest to the centroid, within its cluster.

    Restarts matter: with few clusters, single runs end in quite different optima. Order and scores: `from_clusters`.
    """

    def select(self, x: Float32[ndarray, "n d"], budget: int, seed: int) -> Picks:
        """See `Selector`."""
        found = kmeans(x, budget, self, rng.number(seed, "select", "kmeans"))
        return from_clusters(x, best_of_each(found.cluster, found.closeness), found.cluster, budget)
