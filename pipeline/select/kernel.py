"""Rows on the sphere, which of them are copies of one image, and the mean of a Gaussian kernel on them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy import ndarray

from pipeline.select import geometry
from pipeline.select.geometry import centred, lowered, raised, resolution, spans, sq_dists, unit
from pipeline.select.pool import Pool
from pipeline.select.selector import nearest_of


def sample(n: int, most: int, chance: np.random.Generator) -> Int64[ndarray, " m"]:
    """All n rows, or `most` of them drawn at random where there are more, in ascending order."""
    return np.arange(n) if n <= most else np.sort(chance.choice(n, most, replace=False))


@dataclass(frozen=True)
class Sphere:
    """Rows brought to unit length, less their mean: the same distances, better conditioned."""

    right: Float32[ndarray, "n e"]  # the right factors of their squared distances, the rows themselves at the front

    @classmethod
    def of(cls, x: Float32[ndarray, "n d"]) -> "Sphere":
        """The rows of x, of any length."""
        return cls(raised(centred(unit(x))))

    @property
    def x(self) -> Float32[ndarray, "n d"]:
        """The rows."""
        return self.right[:, :-2]

    @cached_property
    def floor(self) -> float:
        """The sq_dist below which two rows are copies of one image."""
        return resolution(self.x)

    def sq_dist(self, row: int) -> Float32[ndarray, " n"]:
        """The sq_dist of every row to this one."""
        out = self.right @ lowered(self.x[row : row + 1])[0]
        return np.maximum(out, 0, out=out)

    def mean_kernel(self, rows: Int64[ndarray, " p"], scale: float) -> Float[ndarray, " n"]:
        """The mean over `rows`, one at least, of exp(-sq_dist / scale), for every row; in blocks."""
        sums = np.zeros(len(self.right))
        left = lowered(self.x[rows]) / np.float32(-scale)
        for part in spans(len(sums), geometry.QUERIES):
            for points in spans(len(rows), geometry.POINTS):
                block = self.right[part] @ left[points].T
                sums[part] += np.exp(np.minimum(block, 0, out=block), out=block).sum(axis=1)
        return sums / len(rows)


def distinct(pool: Pool, rows: Int64[ndarray, " k"]) -> Int64[ndarray, " r"]:
    """Those of the rows that are no copies of a labelled row or of one before them."""
    x, floor = pool.space.centred, pool.space.floor
    left = nearest_of(x, rows, pool.labelled) > floor
    for i in range(len(rows)):
        if left[i]:
            left[i + 1 :] &= sq_dists(x[rows[i : i + 1]], x[rows[i + 1 :]])[0] > floor
    return rows[left]
