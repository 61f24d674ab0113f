"""Facility location: every image is served by its most similar pick (Nemhauser, Wolsey and Fisher 1978, greedy)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int32, Int64
from numpy import ndarray
from pydantic import Field

from pipeline.base.errors import ParamsError
from pipeline.select.greedy import lazy_greedy
from pipeline.select.pool import Pool, Space
from pipeline.select.selector import Picks, Selector
from pipeline.select.sphere import on_sphere
from pipeline.select.taken import Taken, filled_up

EDGE_BYTES = 24  # while the graph is being turned round


class FacilityLocation(Selector):
    """Greedy picks S for sum over images i of max over s in S of sim(i, s), at least 1 - 1/e of the best sum.

    sim is the cosine, 0 where it is negative and for all but the `neighbours` nearest images of i: a sparse graph.
    Labelled images serve from the start. A pick's score is what it adds to the mean over the images; copies of an image
    that is picked or labelled add nothing, and when nothing is left to add, the images `farthest` from all follow at
    score 0. No chance in it: ties go to the lowest row, and the seed changes nothing. A graph larger than
    `search.memory_mb` is refused.
    """

    neighbours: int = Field(ge=1)  # the image itself among them; all images, where there are fewer

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        ball, n = on_sphere(pool), len(pool.x)
        k, most = min(self.neighbours, n), pool.space.search.memory_mb * 2**20 // (EDGE_BYTES * n)
        if k > most:
            where, limit = "select.facility_location.neighbours", f"{most}, whose graph fits select.search.memory_mb"
            raise ParamsError(f"{where}: expected for {n} images at most {limit}, got {self.neighbours}")
        graph, taken = Graph.build(ball.space, k), Taken.of(ball, budget)
        served = np.zeros(n, np.float32)
        for row in pool.labelled:
            graph.serve(int(row), served)
        before = served.mean(dtype=np.float64)

        def gains_of(rows: Int64[ndarray, " r"]) -> Float[ndarray, " r"]:
            return np.where(taken.copies(rows), 0, graph.gains(rows, served) / n)

        def take(row: int) -> None:
            graph.serve(row, served)
            taken.add(np.array([row]))

        rows, gains = lazy_greedy(np.where(pool.free, np.inf, -np.inf), gains_of, take, budget)
        rows, gains = rows[gains > 0], gains[gains > 0]
        about = {"mean_similarity": round(float(before + gains.sum()), 6), "gained_by": len(rows), **ball.space.about}
        return filled_up(pool, rows, gains, budget, about)


@dataclass(frozen=True)
class Graph:
    """For each row the images it can serve, those that have it among their nearest, and their similarity to it."""

    starts: Int64[ndarray, " m"]  # where each row's images start, and the end of all
    image: Int32[ndarray, " e"]
    sim: Float32[ndarray, " e"]

    @classmethod
    def build(cls, space: Space, k: int) -> "Graph":
        """Of rows of unit length, with the k nearest of each; 1 <= k <= n."""
        n = len(space.x)
        server, sim = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
        for part, sq_dist, row in space.neighbours(k).knn(k):
            server[part] = row
            # Copies are as similar as can be; missing neighbours are infinitely far.
            sim[part] = np.maximum(1 - np.where(sq_dist < space.copy_sq_dist, 0, sq_dist) / 2, 0)
        order = server.ravel().argsort(kind="stable")[np.count_nonzero(server < 0) :]
        starts = np.concatenate([[0], np.bincount(server[server >= 0], minlength=n).cumsum()])
        sim = sim.ravel()[order]
        order //= k
        return cls(starts, order.astype(np.int32), sim)

    def serve(self, row: int, served: Float32[ndarray, " n"]) -> None:
        """Raises how well each image is served to what it is when the row is among the picks."""
        edges = slice(*self.starts[row : row + 2])
        served[self.image[edges]] = np.maximum(served[self.image[edges]], self.sim[edges])

    def gains(self, rows: Int64[ndarray, " r"], served: Float32[ndarray, " n"]) -> Float[ndarray, " r"]:
        """By how much each of the rows would raise the sum of `served`."""
        start = self.starts[rows]
        count = self.starts[rows + 1] - start
        which = np.repeat(np.arange(len(rows)), count)
        edge = np.arange(len(which)) + np.repeat(start - (count.cumsum() - count), count)
        more = np.maximum(self.sim[edge] - served[self.image[edge]], 0)
        return np.bincount(which, more, len(rows)).astype(np.float64)  # whole numbers, where there is nothing to add
