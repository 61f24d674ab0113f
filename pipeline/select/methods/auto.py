"""auto: the default. Spherical k-means, well restarted, and the image nearest to each centroid.

It is what was left after some seventy ideas were held against it on five sets of vectors: docs/methods/auto.md.
"""

from pydantic import Field

from pipeline.select.methods.kmeans import KMeans
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector


class Auto(Selector):
    """`kmeans` on unit rows, with as many restarts as few clusters need and many do not.

    With a cluster or two for each class, single runs end in quite different optima, and the best of eight is worth two
    or three points; with ten for each class, nothing that was measured. Order and scores: `covering`.
    """

    out_of_core = True

    iterations: int = Field(ge=1)  # of Lloyd's algorithm
    restarts: int = Field(ge=1)  # at most
    most_clusters: int = Field(ge=1)  # of all restarts together; there is one run, where that alone has more

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        """See `Selector`; its chance is that of `kmeans`."""
        restarts = max(1, min(self.restarts, self.most_clusters // (budget + len(pool.labelled))))
        lloyd = KMeans(iterations=self.iterations, restarts=restarts, spherical=True)
        picks = lloyd.select(pool, budget, seed)
        return Picks(picks.rows, picks.scores, {**picks.about, "restarts": restarts})
