"""Averages over the steps of a run, which move only once a step is done."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.parallel import dist


class MovingMean(nn.Module):
    """mean <- keep * mean + (1 - keep) * new, where `keep` is warmed up as by `ema.warm_keep`; any shape.

    What a step would make of it can be asked for any number of times; it is taken over by `after_step`.
    """

    mean: Tensor
    steps: Tensor

    def __init__(self, start: Float[Tensor, "*s"], keep: float) -> None:
        super().__init__()
        self.keep = keep
        self.register_buffer("mean", start.clone())
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self._waiting: Tensor | None = None

    @torch.no_grad()
    def moved(self, new: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
        """The mean with this step's value in it, which is that of all processes: the mean of theirs."""
        # As tensors, so that the device need not be waited for.
        keep = ((2 + self.steps) / (11 + self.steps)).clamp(max=self.keep)
        new = dist.total(new) / dist.world()
        self._waiting = new + keep * (self.mean - new)
        return self._waiting

    @torch.no_grad()
    def after_step(self) -> None:
        """Takes over what `moved` said last."""
        if self._waiting is not None:
            self.mean.copy_(self._waiting)
            self.steps += 1
            self._waiting = None
