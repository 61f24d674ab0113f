"""FixMatch: the confident guess on a weak view of an image teaches a strong view of it (Sohn et al. 2020).

What varies in FlexMatch, FreeMatch and SoftMatch is how much each guess counts: their `Guesses`.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import Levels
from pipeline.train.alignment import Align, Alignment, target
from pipeline.train.averaged import Averaged, known_ce
from pipeline.train.batch import Batch, Feed
from pipeline.train.passes import through
from pipeline.train.pixels import Pixels
from pipeline.train.task import Task


class GuessParams(Block):
    """What FixMatch and its variations share."""

    ratio: int = Field(ge=1)  # unlabelled images for each labelled one in a batch; mu = 7 in the paper
    weight: float = Field(ge=0)  # lambda_u = 1 in the paper
    align: Align  # what the mean guess is drawn to: nothing, uniform over classes with a label, the labels' shares
    align_keep: float = Field(ge=0, lt=1)  # of the mean guess, warmed up
    keep: float = Field(ge=0, lt=1)  # share of the slow copy that is kept at each step; 0.999 in the paper


class FixMatchParams(GuessParams):
    """The block `train.fixmatch`."""

    threshold: float = Field(ge=0)  # tau = 0.95 in the paper; above 1 it is supervised training


def weighted_ce(
    strong: Float[Tensor, "u k"], guess: Int64[Tensor, " u"], weights: Float[Tensor, " u"]
) -> Float[Tensor, ""]:
    """Cross-entropy of the logits `strong` against the guesses, times their weights; the mean is over all u images."""
    return (F.cross_entropy(strong, guess, reduction="none") * weights).mean()


class Guesses(nn.Module):
    """The unlabelled loss at one level: what is guessed on weak views, and how much each guess counts."""

    def __init__(self, params: Any, task: Task, level: int) -> None:
        super().__init__()
        self.params, self.num_images = params, task.num_images
        self.num_classes = len(list(task.targets.names.values())[level])
        wanted = target(params.align, task.targets, level)
        self.align = None if wanted is None else Alignment(wanted, params.align_keep)

    def forward(
        self, weak: Float[Tensor, "u k"], strong: Float[Tensor, "u k"], rows: Int64[Tensor, " u"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The loss of logits of both views (eq. 4), and the mean weight; no gradient reaches `weak`."""
        p = self.aligned(weak.detach().softmax(dim=1))
        weights = self.weights(p, rows)
        return weighted_ce(strong, p.argmax(dim=1), weights), weights.mean()

    def aligned(self, p: Float[Tensor, "u k"]) -> Float[Tensor, "u k"]:
        """The guesses, drawn to the wanted distribution if there is one."""
        return p if self.align is None else self.align(p)

    def weights(self, p: Float[Tensor, "u k"], rows: Int64[Tensor, " u"]) -> Float[Tensor, " u"]:
        """1 for each guess that is sure enough, 0 for the others."""
        return (p.amax(dim=1) >= self.params.threshold).to(p.dtype)

    def after_step(self) -> None:
        """Takes over what `forward` found."""
        if self.align is not None:
            self.align.after_step()


class FixMatch(Averaged):
    """The method; the model that it leaves is the slow copy. Where the head has several levels, losses are summed."""

    Params: type[GuessParams] = FixMatchParams
    Guesses: type[Guesses] = Guesses

    def __init__(self, backbone: Backbone, task: Task, params: GuessParams) -> None:
        net = Classifier(backbone, Levels(backbone.dim, task.targets.names), task.size)
        super().__init__(net, task, params.keep)
        self.params = params
        self.guesses = nn.ModuleList(self.Guesses(params, task, i) for i in range(len(task.targets.names)))

    def feed(self, images: Pixels) -> Callable[[int], Batch]:
        """A weak and a strong view of each unlabelled image."""
        common = self.task.common
        return Feed(images, self.task, ratio=self.params.ratio, views=(common.weak, common.strong))

    def loss(self, batch: Batch) -> Step:
        """Labelled loss plus `weight` times the unlabelled one, summed over the levels."""
        known, weak, strong = through(self.net, [batch.labelled, *batch.views], self.task.common.batch_norm)
        labelled, unlabelled, kept = [], [], []
        for i, (level, guesses) in enumerate(zip(known, self.guesses, strict=True)):
            labelled.append(known_ce(known[level], batch.label[:, i]))
            loss, share = guesses(weak[level], strong[level], batch.rows)
            unlabelled.append(loss)
            kept.append(share)
        logs = {"labelled": sum_of(labelled), "unlabelled": sum_of(unlabelled), "kept": kept[0]}
        logs |= {f"kept_{level}": share for level, share in list(zip(known, kept, strict=True))[1:]}
        return Step(logs["labelled"] + self.params.weight * logs["unlabelled"], logs)

    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the slow copy and what the guesses remember."""
        super().after_step(step, num_steps)
        for guesses in self.guesses:
            assert isinstance(guesses, Guesses)
            guesses.after_step()


def sum_of(terms: list[Tensor]) -> Float[Tensor, ""]:
    """The sum of the levels' losses."""
    return torch.stack(terms).sum()
