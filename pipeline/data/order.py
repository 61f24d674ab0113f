"""Which images come at which step: permutation after permutation, each a function of the seed and its epoch alone."""

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from pipeline import rng


class Order:
    """An endless sequence of row numbers: every row exactly once an epoch, each epoch in an order of its own.

    Batches run on across the border of two epochs, so all have the same size, whatever the number of rows; any batch
    can be had without those before it, which is what an exact resume needs.
    """

    def __init__(self, num_rows: int, seed: int, *names: str) -> None:
        self._num_rows, self._seed, self._names = num_rows, seed, names
        self._epoch, self._rows = -1, np.empty(0, np.int64)

    def batch(self, step: int, size: int) -> Int64[ndarray, " b"]:
        """The rows at places step * size to (step + 1) * size of the sequence."""
        parts, place, end = [], step * size, (step + 1) * size
        while place < end:
            epoch, offset = divmod(place, self._num_rows)
            take = min(end - place, self._num_rows - offset)
            parts.append(self._permutation(epoch)[offset : offset + take])
            place += take
        return np.concatenate(parts)

    def _permutation(self, epoch: int) -> Int64[ndarray, " n"]:
        if epoch != self._epoch:
            self._epoch = epoch
            self._rows = rng.stream(self._seed, *self._names, epoch).permutation(self._num_rows)
        return self._rows
