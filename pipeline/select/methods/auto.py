"""auto: the default. Spherical k-means, well restarted, and the image nearest to each centroid.

It is what was left after some seventy ideas were held against it on five sets of vectors: docs/methods/auto.md.
"""

from pydantic import Field

from pipeline.select.by_cluster import kmeans_picks
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector
from pipeline.vectors.clustering import KMeansParams, Lloyd


class Auto(Lloyd, Selector):
    """`kmeans` on unit rows, with as many restarts as few clusters need and many do not.

    With a cluster or two for each class, single runs end in quite different optima, and the best of eight is worth two
    or three points; with ten for each class, nothing that was measured. Order and scores: `covering`. Its chance is
    that of `kmeans`.
    """

    out_of_core = True

    most_clusters: int = Field(ge=1)  # of all restarts together; `restarts` is cut to that, but to one at least

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        restarts = max(1, min(self.restarts, self.most_clusters // (budget + len(pool.labelled))))
        params = KMeansParams(iterations=self.iterations, restarts=restarts, spherical=True)
        picks = kmeans_picks(pool, budget, params, seed)
        return Picks(picks.rows, picks.scores, {**picks.about, "restarts": restarts})
