"""MaxHerding: greedy coverage under a Gaussian kernel (Bae et al. 2024)."""

import numpy as np

from pipeline.base import rng
from pipeline.select.herding import Herding, herd
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector


class MaxHerding(Herding, Selector):
    """Each pick is the image that adds the most to the mean over all images of max_s exp(-(|x - s| / σ)^2).

    The max is over picks and labelled rows; rows are brought to unit length first. Chance is in the sample alone: if
    it holds all images, every seed picks the same. See `herd`.
    """

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        return herd(pool, pool.x, np.ones(len(pool.x)), self, budget, rng.stream(seed, "select", "maxherding"))
