"""Distribution alignment: predictions are weighted so that their mean is drawn to a given distribution of classes.

Berthelot et al. 2020, "ReMixMatch".
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.train.moving import MovingMean
from pipeline.train.targets import Targets

Align = Literal["none", "uniform", "labels"]


def goal_distribution(align: Align, targets: Targets, level: int) -> Float[Tensor, " k"] | None:
    """What the mean prediction should be: uniform over the classes that have a label, or as frequent as the labels.

    Uniform is meant of the finest classes: a coarser class counts as often as finest classes stand below it in the
    labels, and once where it has a label and none does.
    """
    if align == "none":
        return None
    counts = label_counts(targets, level)
    if align == "uniform":
        fine, coarse = targets.labels[:, 0], targets.labels[:, level]
        pairs = torch.stack([fine, coarse])[:, (fine >= 0) & (coarse >= 0)].unique(dim=1)
        below = torch.bincount(pairs[1], minlength=len(counts)).float()
        exists = (counts > 0).float()
        counts = torch.maximum(below, exists) if level > 0 else exists
    return counts / counts.sum()


def label_counts(targets: Targets, level: int) -> Float[Tensor, " k"]:
    """How many labels there are of each class of a level."""
    labels = targets.labels[:, level]
    return torch.bincount(labels[labels >= 0], minlength=len(list(targets.names.values())[level])).float()


class Alignment(MovingMean):
    """Scales each prediction by goal / mean prediction and brings it back to sum 1; classes outside the goal get 0.

    The mean is a moving average, this batch's predictions among it.
    """

    goal: Tensor

    def __init__(self, goal: Float[Tensor, " k"], momentum: float, *, warm: bool) -> None:
        super().__init__(goal, momentum, warm=warm)
        self.register_buffer("goal", goal)

    @torch.no_grad()
    def forward(self, p: Float[Tensor, "u k"]) -> Float[Tensor, "u k"]:
        """Aligned predictions; rows of zeros where all was predicted for classes outside the goal."""
        aligned = p * self.goal / self.updated(p.mean(dim=0)).clamp(min=1e-6)
        return aligned / aligned.sum(dim=1, keepdim=True).clamp(min=1e-12)
