"""The random numbers of views: drawn for a whole batch at once, on the CPU, so that every device has the same."""

import copy

import numpy as np
import torch
from jaxtyping import Float32
from numpy import ndarray

UNIT = (0.0, 1.0)  # least and most


class Chance:
    """A stream of random numbers for the images of a batch.

    A process that holds only `part` of a batch of `total` images draws for all of them and returns those of its part.
    So several processes together see what one would.
    """

    def __init__(self, seed: int, total: int | None = None, part: slice = slice(None)) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._total, self._part = total, part

    def uniform(self, count: int, *ranges: tuple[float, float]) -> Float32[ndarray, "b k"]:
        """For each of `count` images, the whole batch or this process's part, a number from each of the k ranges."""
        low, high = np.array(ranges, np.float32).T
        drawn = torch.rand(self._total or count, len(ranges), generator=self._generator)[self._part]
        return low + (high - low) * drawn.numpy()

    def over(self, total: int, part: slice) -> "Chance":
        """The same stream from its present place, for a batch of `total` images of which this process has `part`."""
        other = copy.copy(self)
        other._total, other._part = total, part
        return other
