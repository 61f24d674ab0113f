"""FlexMatch: FixMatch with a lower threshold for classes of which few images were guessed so far (Zhang et al. 2021).

beta_c is how well class c is learnt: the images whose last sure guess it was, as a share of the class with most of
them. A guess of class c counts from tau * beta_c / (2 - beta_c) on.
"""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pipeline.parallel import dist
from pipeline.train.alignment import label_counts
from pipeline.train.methods.fixmatch import FixMatch, FixMatchParams, Guesses
from pipeline.train.task import Task


class FlexMatchParams(FixMatchParams):
    """The block `train.flexmatch`; `threshold` is that of the class that is learnt best."""


def flexible_thresholds(
    counts: Int64[Tensor, " k"], unused: Int64[Tensor, ""], threshold: float
) -> Float[Tensor, " k"]:
    """The threshold of each class, from 0 to `threshold` (sections 3.1 to 3.3: warm-up, convex mapping).

    While more images are unused than any class has, these are what its count is compared with: all rise from 0.
    """
    beta = counts / torch.maximum(counts.max(), unused).clamp(min=1)
    return threshold * beta / (2 - beta)


class FlexGuesses(Guesses):
    """Remembers for each image the class that was last guessed for it with at least `threshold`; -1: never.

    Departures: a guess of a class without any label does not count, for its threshold would stay at 0. A `threshold`
    above 1 is supervised training, as it is in FixMatch; by the formula all thresholds would stay at 0. Of an image
    that stands twice in a batch the higher class number counts.
    """

    last: Tensor
    reached: Tensor

    def __init__(self, params: Any, task: Task, level: int) -> None:
        super().__init__(params, task, level)
        self.register_buffer("last", torch.full((self.num_images,), -1))
        self.register_buffer("reached", label_counts(task.targets, level) > 0, persistent=False)
        self._waiting: Tensor | None = None

    def weights(self, p: Float[Tensor, "u k"], rows: Int64[Tensor, " u"]) -> Float[Tensor, " u"]:
        """1 for each guess that is sure enough for its class, 0 for the others; what is sure waits for `after_step`."""
        confidence, guess = p.max(dim=1)
        exists = self.reached[guess]
        sure = exists & (confidence >= self.params.threshold)
        rows, last = dist.gather(rows), dist.gather(torch.where(sure, guess, -1))
        # The highest number, as which of two equal rows is written last is not said.
        self._waiting = torch.full_like(self.last, -1).scatter_reduce(0, rows, last, "amax")
        if self.params.threshold > 1:
            return torch.zeros_like(confidence)
        # Not bincount, for which the device must be waited for.
        counts = self.last.new_zeros(self.num_classes + 1).index_add(0, self.last + 1, torch.ones_like(self.last))
        thresholds = flexible_thresholds(counts[1:], counts[0], self.params.threshold)
        return (exists & (confidence >= thresholds[guess])).to(p.dtype)

    @torch.no_grad()
    def after_step(self) -> None:
        """Takes over this step's sure guesses."""
        super().after_step()
        if self._waiting is not None:
            self.last.copy_(torch.where(self._waiting >= 0, self._waiting, self.last))
            self._waiting = None


class FlexMatch(FixMatch):
    """The method: FixMatch with these guesses."""

    Params = FlexMatchParams
    Guesses = FlexGuesses
