"""Rows of unit length: a pool of them, their distances, and the mean of a Gaussian kernel on them."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64
from numpy import ndarray

from pipeline.select.pool import Pool, Space
from pipeline.vectors import geometry
from pipeline.vectors.geometry import centred, left_factor, resolution, right_factor, unit
from pipeline.vectors.rows import spans

FLOAT16_ROUNDING = 1e-3  # by which the squared length of a unit row that was kept as float16 may differ from 1


def on_sphere(pool: Pool) -> Pool:
    """The pool with rows of unit length; if they have it already, itself, with the neighbours it knows."""
    squares = np.einsum("nd,nd->n", pool.x, pool.x)
    if (np.abs(squares - 1) < FLOAT16_ROUNDING).all():
        return pool
    return replace(pool, space=Space(unit(pool.x), pool.space.search))


@dataclass(frozen=True)
class Sphere:
    """Rows brought to unit length, less their mean: the same distances, better conditioned."""

    right: Float32[ndarray, "n e"]  # the right factors of their squared distances, the rows themselves at the front

    @classmethod
    def of(cls, x: Float32[ndarray, "n d"]) -> "Sphere":
        return cls(right_factor(centred(unit(x))))

    @property
    def x(self) -> Float32[ndarray, "n d"]:
        return self.right[:, :-2]

    @cached_property
    def copy_sq_dist(self) -> float:
        """The squared distance below which two rows are copies of one image."""
        return resolution(self.x)

    def sq_dist(self, row: int) -> Float32[ndarray, " n"]:
        out = self.right @ left_factor(self.x[row : row + 1])[0]
        return np.maximum(out, 0, out=out)

    def copies_of(self, row: int) -> Bool[ndarray, " n"]:
        """Which rows are copies of this one, itself among them."""
        copies = self.sq_dist(row) < self.copy_sq_dist
        copies[row] = True
        return copies

    def mean_kernel(self, rows: Int64[ndarray, " p"], scale: float) -> Float[ndarray, " n"]:
        """The mean over `rows`, one at least, of exp(-sq_dist / scale), for every row; in blocks."""
        sums = np.zeros(len(self.right))
        left = left_factor(self.x[rows]) / np.float32(-scale)
        for part in spans(len(sums), geometry.QUERIES):
            for points in spans(len(rows), geometry.POINTS):
                block = self.right[part] @ left[points].T
                sums[part] += np.exp(np.minimum(block, 0, out=block), out=block).sum(axis=1)
        return sums / len(rows)
