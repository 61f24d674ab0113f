"""FlexMatch: FixMatch with a lower threshold for classes with few pseudo-labels so far (Zhang et al. 2021).

beta_c is how well class c is learnt: the number of images whose last confident pseudo-label was c, as a share of that
of the class with most of them. A pseudo-label of class c counts from a confidence of tau * beta_c / (2 - beta_c) on.
"""

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.parallel import dist
from pipeline.train.pseudo_labelling import PseudoLabelling, PseudoLabelParams, UnlabelledLoss
from pipeline.train.task import Task


class FlexMatchParams(PseudoLabelParams):
    """The block `train.flexmatch`."""

    threshold: float = Field(ge=0)  # tau, of the class that is learnt best; above 1 it is supervised training


def flexible_thresholds(
    counts: Int64[Tensor, " k"], unused: Int64[Tensor, ""], threshold: float
) -> Float[Tensor, " k"]:
    """The threshold of each class, from 0 to `threshold` (sections 3.1 to 3.3: warm-up, convex mapping).

    While more images are unused than any class has, the counts are compared with these: all thresholds rise from 0.
    """
    beta = counts / torch.maximum(counts.max(), unused).clamp(min=1)
    return threshold * beta / (2 - beta)


class FlexMatchLoss(UnlabelledLoss[FlexMatchParams]):
    """Remembers in `last` each image's last pseudo-label of a confidence of at least `threshold`; -1: never one.

    Departures: a pseudo-label of a class without any label does not count, for its threshold would stay at 0. A
    `threshold` above 1 is supervised training, as in FixMatch; by the formula all thresholds would stay at 0. Of an
    image that is twice in a batch the higher class number counts.
    """

    last: Tensor

    def __init__(self, params: FlexMatchParams, task: Task, level: int) -> None:
        super().__init__(params, task, level)
        self.register_buffer("last", torch.full((self.num_images,), -1))
        self._waiting: Tensor | None = None

    def weights(self, p: Float[Tensor, "u k"], rows: Int64[Tensor, " u"]) -> Float[Tensor, " u"]:
        """The mask: 1 for each pseudo-label that reaches the threshold of its class, 0 for the others."""
        confidence, pseudo_label = p.max(dim=1)
        has_label = self.has_label[pseudo_label]
        confident = has_label & (confidence >= self.params.threshold)
        rows, last = dist.gather(rows), dist.gather(torch.where(confident, pseudo_label, -1))
        # The highest number, as torch does not say which of two equal rows is written last.
        self._waiting = torch.full_like(self.last, -1).scatter_reduce(0, rows, last, "amax")
        if self.params.threshold > 1:
            return torch.zeros_like(confidence)
        # Not bincount, which waits for the device.
        counts = self.last.new_zeros(self.num_classes + 1).index_add(0, self.last + 1, torch.ones_like(self.last))
        thresholds = flexible_thresholds(counts[1:], counts[0], self.params.threshold)
        return (has_label & (confidence >= thresholds[pseudo_label])).to(p.dtype)

    @torch.no_grad()
    def after_step(self) -> None:
        super().after_step()
        if self._waiting is not None:
            self.last.copy_(torch.where(self._waiting >= 0, self._waiting, self.last))
            self._waiting = None


class FlexMatch(PseudoLabelling[FlexMatchParams]):
    """The method."""

    Params = FlexMatchParams
    Unlabelled = FlexMatchLoss
