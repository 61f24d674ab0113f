"""Picks at random: the floor in every comparison."""

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from pipeline import rng
from pipeline.select.selector import Picks, Selector


class Uniform(Selector):
    """Every set of `budget` rows is as likely as any other, and so is every order; all scores are 0."""

    def select(self, x: Float32[ndarray, "n d"], budget: int, seed: int) -> Picks:
        """Draws without replacement."""
        rows = rng.stream(seed, "select", "random").permutation(len(x))[:budget]
        return Picks(rows, np.zeros(budget))
