"""The pool with rows of unit length, and which rows are copies of an image that is taken already."""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float32, Int64
from numpy import ndarray

from pipeline.select.geometry import lowered, raised, unit
from pipeline.select.pool import Pool, Space

NEARLY = 1e-3  # by which the squared length of a row that was kept as float16 may differ from 1


def on_sphere(pool: Pool) -> Pool:
    """The pool with rows of unit length; itself, with the neighbours it knows, where they have it already."""
    squares = np.einsum("nd,nd->n", pool.x, pool.x)
    return pool if (np.abs(squares - 1) < NEARLY).all() else replace(pool, space=Space(unit(pool.x), pool.space.search))


class Taken:
    """The labelled rows and the picks so far of a pool, for a selector that asks one by one which may follow."""

    def __init__(self, pool: Pool, room: int) -> None:
        """For `room` picks at most."""
        self._x, self._floor, self._count = pool.space.centred, pool.space.floor, len(pool.labelled)
        self._left: Float32[ndarray, "t e"] = np.empty((self._count + room, self._x.shape[1] + 2), np.float32)
        self._left[: self._count] = lowered(self._x[pool.labelled])

    def add(self, row: int) -> None:
        """One more pick."""
        self._left[self._count] = lowered(self._x[row : row + 1])[0]
        self._count += 1

    def copies(self, rows: Int64[ndarray, " r"]) -> Bool[ndarray, " r"]:
        """Which of the rows float32 cannot tell from one that is taken."""
        found = self._left[: self._count] @ raised(self._x[rows]).T
        return found.min(axis=0, initial=np.inf) <= self._floor
