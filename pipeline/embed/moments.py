"""Mean and main axes of rows that come in blocks."""

import numpy as np
import torch
from jaxtyping import Float32
from numpy import ndarray

from pipeline.nn.centre import Centre

RANK = 1e-9  # of the largest variance: an axis of less has nothing but rounding on it


class Moments:
    """Sums of rows and of their products, in float64; products only where there are more than `most` columns."""

    def __init__(self, raw: int, most: int) -> None:
        self.count, self.most = 0, most
        self.total = np.zeros(raw)
        self.products = np.zeros((raw, raw)) if raw > most else None

    def add(self, x: Float32[ndarray, "b r"]) -> None:
        """A block of rows."""
        exact = x.astype(np.float64)
        self.count += len(x)
        self.total += exact.sum(axis=0)
        if self.products is not None:
            self.products += exact.T @ exact

    def centre(self) -> Centre:
        """The rows' mean and, of more columns, the axes of most variance, at most so many and none without any."""
        raw, mean = len(self.total), self.total / self.count
        if self.products is None:
            made = Centre(raw, raw)
        else:
            variances, axes = np.linalg.eigh(self.products / self.count - np.outer(mean, mean))  # in rising order
            dim = int(np.clip((variances > RANK * variances[-1]).sum(), 1, self.most))
            axes = axes[:, : -dim - 1 : -1]
            # An axis has two directions: the one in which its largest entry is positive.
            axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(dim)] < 0, -1, 1)
            made = Centre(raw, dim)
            made.rotation = torch.from_numpy(axes.astype(np.float32))
        made.mean = torch.from_numpy(mean.astype(np.float32))
        return made
