"""The image nearest to each k-means centroid."""

from pipeline.select.by_cluster import kmeans_picks
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector
from pipeline.vectors.clustering import KMeansParams


class KMeans(KMeansParams, Selector):
    """One image for each cluster without a labelled one: the nearest to the centroid, within its cluster.

    There are as many clusters as labelled images and picks together. Restarts matter: with few clusters, single runs
    end in quite different optima. Order and scores: `covering`.
    """

    out_of_core = True

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        return kmeans_picks(pool, budget, self, seed)
