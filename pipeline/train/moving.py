"""Averages over the steps of a run, which move once a step is done."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.parallel import dist


class MovingMean(nn.Module):
    """mean <- momentum * mean + (1 - momentum) * new, any shape.

    Where `warm`, the memory is never longer than the steps done so far, as in `ema.warm_momentum`.

    `updated` gives the new mean, any number of times in a step; `after_step` takes it over.
    """

    mean: Tensor
    steps: Tensor

    def __init__(self, start: Float[Tensor, "*s"], momentum: float, *, warm: bool) -> None:
        super().__init__()
        self.momentum, self.warm = momentum, warm
        self.register_buffer("mean", start.clone())
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self._waiting: Tensor | None = None

    @torch.no_grad()
    def updated(self, new: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        """The mean with this step's value in it; the value is the mean of all processes' values."""
        momentum: Tensor | float = self.momentum
        if self.warm:  # as a tensor, so that nothing waits for the device
            momentum = ((2 + self.steps) / (11 + self.steps)).clamp(max=self.momentum)
        new = dist.total(new) / dist.world()
        self._waiting = new + momentum * (self.mean - new)
        return self._waiting

    @torch.no_grad()
    def after_step(self) -> None:
        """Takes over the last result of `updated`."""
        if self._waiting is not None:
            self.mean.copy_(self._waiting)
            self.steps += 1
            self._waiting = None
