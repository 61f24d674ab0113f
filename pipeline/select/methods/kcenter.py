"""k-center by farthest-first traversal (Gonzalez 1985); the "core-set" of Sener and Savarese, ICLR 2018."""

from typing import Literal

import numpy as np

from pipeline.base import rng
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector
from pipeline.select.taken import farthest


class KCenter(Selector):
    """Each next pick is the free image farthest from all picks so far and labelled images.

    Without barred images the largest distance of an image to its nearest pick is at most twice the smallest that any
    picks of that number have. Outliers are picked early, by nature. The score is the Euclidean distance at the time of
    the pick; of a first pick, which has nothing to be far from, a bound on the distance of any two images. Where
    nothing is labelled the traversal starts from the image of smallest sum of sq_dists to all, which is the nearest to
    the mean, or from one at random; else there is no chance in it. Time is n times the budget.
    """

    start: Literal["medoid", "random"]

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        free, squares = np.flatnonzero(pool.free), np.einsum("nd,nd->n", pool.space.centred, pool.space.centred)
        if len(pool.labelled):
            first = np.empty(0, np.int64)
        elif self.start == "medoid":
            first = free[[squares[free].argmin()]]
        else:
            first = rng.stream(seed, "select", "kcenter").choice(free, 1)
        rows, sq_gap = farthest(pool, first, budget - len(first))
        widest = max(2 * float(squares.max()) ** 0.5, float(sq_gap.max(initial=0)) ** 0.5)
        gap = np.concatenate([np.full(len(first), widest), np.sqrt(sq_gap, dtype=np.float64)])
        return Picks(np.concatenate([first, rows]), gap)
