"""Picks at random: the baseline in every comparison."""

import numpy as np

from pipeline.base import rng
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector


class Random(Selector):
    """Every set of `budget` free rows is as likely as any other, and so is every order; all scores are 0."""

    out_of_core = True

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        rows = np.flatnonzero(pool.free)
        rng.stream(seed, "select", "random").shuffle(rows)
        return Picks(rows[:budget].copy(), np.zeros(budget))
