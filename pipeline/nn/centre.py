"""Vectors without their common part: less the training images' mean, on their main axes, of unit length."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn, zeros

LEAST = 1e-5  # length of what is left of a vector, below which it is rounding


class Centre(nn.Module):
    """`mean` and, where `dim` is less than `raw`, `rotation` onto the `dim` axes of most variance; zeros at first.

    Axes are not rescaled: dividing by their deviation harms a linear probe.
    """

    mean: Tensor
    rotation: Tensor | None

    def __init__(self, raw: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("mean", zeros(raw))
        self.register_buffer("rotation", zeros(raw, dim) if dim < raw else None)

    def forward(self, x: Float[Tensor, "b r"]) -> Float[Tensor, "b d"]:
        """Unit vectors, in the constants' precision; zeros for what is the mean but for rounding."""
        x = x.to(self.mean.dtype) - self.mean
        return unit(x if self.rotation is None else x @ self.rotation)


def unit(x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
    """Rows made unit length; zeros where a row is shorter than `LEAST`."""
    return F.normalize(x, dim=1) * (x.norm(dim=1, keepdim=True) > LEAST)
