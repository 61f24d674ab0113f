"""MixMatch: images with sharpened predictions for labels are mixed with the labelled images (Berthelot et al. 2019).

With several levels of classes an image gets a prediction at each level where it has no label; the paper has one level.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Beta

from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.norm import statistics_kept
from pipeline.nn.primitives import one_hot
from pipeline.parallel import dist
from pipeline.train.alignment import Align, Alignment, goal_distribution
from pipeline.train.batch import SemiBatch, SemiFeed
from pipeline.train.losses import by_level, mean_of
from pipeline.train.method import EmaMethod
from pipeline.train.mixing import mixed, of_all_processes, places
from pipeline.train.passes import forward_parts
from pipeline.train.pixels import Pixels
from pipeline.train.sharpen import sharpen
from pipeline.train.task import Task


class MixMatchParams(Block):
    """The block `train.mixmatch`."""

    ratio: int = Field(ge=1)  # unlabelled images for each labelled one in a batch
    views: int = Field(ge=1)  # K, weak views of each, over which the prediction is a mean
    sharpen: float = Field(gt=0)  # T, temperature of the prediction; at 1 it stays as it is
    alpha: float = Field(ge=0)  # of Beta(alpha, alpha), the share of an image in a mix; at 0 nothing is mixed
    weight: float = Field(ge=0)  # lambda_u, of the unlabelled loss
    ramp: float = Field(ge=0, le=1)  # share of the steps in which the weight rises from 0
    align: Align  # what the mean prediction is drawn to, before it is sharpened


def mixmatch_loss(
    logits: Float[Tensor, "n k"], targets: Float[Tensor, "n k"], labelled: Bool[Tensor, " n"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy against the targets on labelled rows (eq. 3), squared error of the softmax on the rest (eq. 4).

    Each is a mean over its rows, 0 where there are none; the second is a mean over the classes too. No gradient reaches
    the targets.
    """
    targets = targets.detach()
    ce = F.cross_entropy(logits, targets, reduction="none")
    sq = (logits.softmax(dim=1) - targets).square().mean(dim=1)
    return mean_of((ce * labelled).sum(), labelled.sum()), mean_of((sq * ~labelled).sum(), (~labelled).sum())


class MixMatch(EmaMethod[SemiBatch, MixMatchParams]):
    """The method. Where the head has several levels, their losses are summed.

    A labelled image without a label at some level is unlabelled there: it has the prediction of its one view for a
    target, and the squared error. Images are mixed once for all levels. Running statistics come from the mixed images
    alone, as in the authors' code: the views behind the predictions are the same images again.
    """

    Params = MixMatchParams
    guesses = True

    def __init__(self, backbone: Backbone, task: Task, params: MixMatchParams) -> None:
        super().__init__(backbone, task, params)
        self.some_unlabelled = bool((task.targets.labels < 0).any())  # labelled images may lack a label at a level
        goals = [goal_distribution(params.align, task.targets, i) for i in range(len(task.targets.names))]
        momentum, warm = task.common.align_momentum, task.common.warm_averages
        self.alignments = nn.ModuleList(
            nn.Identity() if goal is None else Alignment(goal, momentum, warm=warm) for goal in goals
        )

    def feed(self, images: Pixels) -> Callable[[int], SemiBatch]:
        return SemiFeed(images, self.task, ratio=self.params.ratio, views=[self.task.common.weak] * self.params.views)

    def loss(self, batch: SemiBatch) -> Step:
        """Labelled loss plus the risen `weight` times the unlabelled one (eq. 5), summed over the levels.

        The curve has the predictions' mean confidence at each level.
        """
        predictions = self.predictions(batch)
        images = [batch.labelled, *batch.views]
        sizes = [len(part) for part in images]
        order, share = self.draw(sizes, batch.labelled.device)

        def mix(parts: Sequence[Float[Tensor, " _ *s"]]) -> Float[Tensor, " n *s"]:
            return mixed(torch.cat(list(parts)), of_all_processes(parts)[order], share)

        out = forward_parts(self.net, mix(images).split(sizes), self.task.common.batch_norm)
        losses = []
        for i, (level, q) in enumerate(predictions.items()):
            logits = torch.cat([part[level] for part in out])
            targets, known = self.targets(batch, batch.label[:, i], q)
            losses.append(mixmatch_loss(logits, mix(targets.split(sizes)), known))
        labelled, unlabelled = (torch.stack(terms).sum() for terms in zip(*losses, strict=True))
        rise = min(self.progress / self.params.ramp, 1.0) if self.params.ramp else 1.0
        logs = {"labelled": labelled, "unlabelled": unlabelled}
        logs |= {by_level("confidence", level): q[: len(batch.rows)].amax(1).mean() for level, q in predictions.items()}
        return Step(labelled + self.params.weight * rise * unlabelled, logs)

    @torch.no_grad()
    def predictions(self, batch: SemiBatch) -> dict[str, Float[Tensor, "g k"]]:
        """At each level those for unlabelled images, then for labelled ones if some need one (eq. 6 and 7)."""
        images = batch.labelled if self.some_unlabelled else batch.labelled[:0]
        with statistics_kept(self.net):
            *views, labelled = forward_parts(self.net, [*batch.views, images], self.task.common.batch_norm)
        sharpened = {}
        for i, (level, alignment) in enumerate(zip(labelled, self.alignments, strict=True)):
            p = torch.stack([view[level].softmax(dim=1) for view in views]).mean(dim=0)
            p = torch.cat([self.guess(p, batch.rows, i), labelled[level].softmax(dim=1)])
            sharpened[level] = sharpen(alignment(p), self.params.sharpen)
        return sharpened

    def targets(
        self, batch: SemiBatch, label: Int64[Tensor, " b"], q: Float[Tensor, "g k"]
    ) -> tuple[Float[Tensor, "n k"], Bool[Tensor, " n"]]:
        """At one level the target of each labelled image and of each view, and whether it is a label."""
        first, known = one_hot(label, q.shape[1]).to(q.dtype), label >= 0
        if self.some_unlabelled:
            first = torch.where(known[:, None], first, q[len(batch.rows) :])
        views = q[: len(batch.rows)].repeat(len(batch.views), 1)
        return torch.cat([first, views]), torch.cat([known, known.new_zeros(len(views))])

    def draw(self, sizes: Sequence[int], device: torch.device) -> tuple[Int64[Tensor, " n"], Float[Tensor, " n"]]:
        """Each image's partner, and the image's share in the mix, at least a half (eq. 8 and 9), by torch's generator.

        Images are those of this process's parts, of these sizes; partners are rows of `of_all_processes`. All is drawn
        for the whole batch, and each process keeps what is its own.
        Every image has its own share, as in the equations, which are of a pair, and as the authors do: with one share
        for all, some steps' images would be nearly whole and other steps' half mixed.
        """
        here, alpha = places(sizes), self.params.alpha
        if alpha == 0:
            return here.to(device), torch.ones(len(here), device=device)
        count = len(here) * dist.world()
        order, share = torch.randperm(count), Beta(alpha, alpha, validate_args=False).sample((count,))
        order, share = order[here], torch.maximum(share, 1 - share)[here]
        return order.to(device, non_blocking=True), share.to(device, non_blocking=True)

    def after_step(self, step: int, num_steps: int) -> None:
        super().after_step(step, num_steps)
        for alignment in self.alignments:
            if isinstance(alignment, Alignment):
                alignment.after_step()
