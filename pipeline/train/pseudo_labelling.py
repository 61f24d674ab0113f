"""FixMatch and its variations: the pseudo-label of an image's weak view teaches the strong view of the same image.

The methods differ in how much each pseudo-label counts. That is their `UnlabelledLoss`; all the rest is here.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.train.alignment import Align, Alignment, goal_distribution, label_counts
from pipeline.train.batch import SemiBatch, SemiFeed
from pipeline.train.losses import by_level, labelled_ce
from pipeline.train.method import EmaMethod
from pipeline.train.passes import forward_parts
from pipeline.train.pixels import Pixels
from pipeline.train.task import Task


class PseudoLabelParams(Block):
    """What these methods share."""

    ratio: int = Field(ge=1)  # unlabelled images for each labelled one in a batch (mu)
    weight: float = Field(ge=0)  # of the unlabelled loss (lambda_u)
    align: Align  # what the mean prediction is drawn to: none, uniform over classes with a label, labels: their shares


P = TypeVar("P", bound=PseudoLabelParams)


def weighted_ce(
    strong: Float[Tensor, "u k"], pseudo_label: Int64[Tensor, " u"], weights: Float[Tensor, " u"]
) -> Float[Tensor, ""]:
    """Cross-entropy of the logits `strong` against the pseudo-labels, times their weights: a mean over all u images."""
    return (F.cross_entropy(strong, pseudo_label, reduction="none") * weights).mean()


class UnlabelledLoss(nn.Module, Generic[P]):
    """The unlabelled loss at one level of classes. `has_label` tells which classes have a label."""

    has_label: Tensor

    def __init__(self, params: P, task: Task, level: int) -> None:
        super().__init__()
        self.params, self.num_images = params, task.num_images
        counts = label_counts(task.targets, level)
        self.num_classes = len(counts)
        self.register_buffer("has_label", counts > 0, persistent=False)
        goal = goal_distribution(params.align, task.targets, level)
        momentum, warm = task.common.align_momentum, task.common.warm_averages
        self.alignment = None if goal is None else Alignment(goal, momentum, warm=warm)

    def forward(
        self, p: Float[Tensor, "u k"], strong: Float[Tensor, "u k"], rows: Int64[Tensor, " u"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The loss of the guesses `p` and the logits of strong views, and the mean weight; `rows` says which images.

        No gradient reaches `p`.
        """
        p = self.aligned(p.detach())
        weights = self.weights(p, rows)
        return weighted_ce(strong, p.argmax(dim=1), weights), weights.mean()

    def aligned(self, p: Float[Tensor, "u k"]) -> Float[Tensor, "u k"]:
        """The predictions, drawn to the goal distribution if there is one."""
        return p if self.alignment is None else self.alignment(p)

    @abstractmethod
    def weights(self, p: Float[Tensor, "u k"], rows: Int64[Tensor, " u"]) -> Float[Tensor, " u"]:
        """How much each image's pseudo-label counts, in [0, 1], from the guesses."""

    def after_step(self) -> None:
        """Takes over what `forward` has noted for the next step."""
        if self.alignment is not None:
            self.alignment.after_step()


class PseudoLabelling(EmaMethod[SemiBatch, P]):
    """Labelled loss plus `weight` times the unlabelled loss, summed over the levels of classes."""

    guesses = True
    Unlabelled: type[UnlabelledLoss[P]]

    def __init__(self, backbone: Backbone, task: Task, params: P) -> None:
        super().__init__(backbone, task, params)
        self.unlabelled = nn.ModuleList(self.Unlabelled(params, task, i) for i in range(len(task.targets.names)))

    def feed(self, images: Pixels) -> Callable[[int], SemiBatch]:
        """A weak and a strong view of each unlabelled image."""
        common = self.task.common
        return SemiFeed(images, self.task, ratio=self.params.ratio, views=(common.weak, common.strong))

    def loss(self, batch: SemiBatch) -> Step:
        """The curve has the mean weight of the pseudo-labels at each level as `mask_rate`."""
        parts = [batch.labelled, *batch.views]
        logits, weak, strong = forward_parts(self.net, parts, self.task.common.batch_norm)
        labelled, unlabelled, rates = [], [], []
        for i, (level, unlabelled_loss) in enumerate(zip(logits, self.unlabelled, strict=True)):
            labelled.append(labelled_ce(logits[level], batch.label[:, i]))
            p = self.guess(weak[level].softmax(dim=1), batch.rows, i)
            loss, rate = unlabelled_loss(p, strong[level], batch.rows)
            unlabelled.append(loss)
            rates.append(rate)
        logs = {"labelled": torch.stack(labelled).sum(), "unlabelled": torch.stack(unlabelled).sum()}
        logs |= {by_level("mask_rate", level): rate for level, rate in zip(logits, rates, strict=True)}
        return Step(logs["labelled"] + self.params.weight * logs["unlabelled"], logs)

    def after_step(self, step: int, num_steps: int) -> None:
        super().after_step(step, num_steps)
        for unlabelled_loss in self.unlabelled:
            assert isinstance(unlabelled_loss, UnlabelledLoss)
            unlabelled_loss.after_step()
