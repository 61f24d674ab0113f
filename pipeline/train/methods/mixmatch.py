"""MixMatch: sharpened guesses, mixed with the labelled images (Berthelot et al. 2019).

With several levels of classes an image is guessed at each level where its label is not known; one level is the paper's.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Beta

from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import Levels
from pipeline.nn.norm import statistics_kept
from pipeline.parallel import dist
from pipeline.train.alignment import Align, Alignment, target
from pipeline.train.averaged import Averaged, mean_of
from pipeline.train.batch import Batch, Feed
from pipeline.train.passes import through
from pipeline.train.pixels import Pixels
from pipeline.train.sharpen import sharpen
from pipeline.train.task import Task


class MixMatchParams(Block):
    """The block `train.mixmatch`."""

    ratio: int = Field(ge=1)  # unlabelled images for each labelled one in a batch; 1 in the paper
    views: int = Field(ge=1)  # weak views of each, whose mean is the guess; K = 2 in the paper
    sharpen: float = Field(gt=0)  # T = 0.5 in the paper; at 1 guesses stay as they are
    alpha: float = Field(ge=0)  # of Beta(alpha, alpha), 0.75 in the paper; at 0 nothing is mixed
    weight: float = Field(ge=0)  # lambda_u; 75 on CIFAR-10 in the paper, 150 on CIFAR-100
    ramp: float = Field(ge=0, le=1)  # share of the steps in which the weight rises from 0; 1/64 in the paper
    align: Align  # what the mean guess is drawn to, before it is sharpened
    align_keep: float = Field(ge=0, lt=1)  # of the mean guess, warmed up
    keep: float = Field(ge=0, lt=1)  # share of the slow copy that is kept at each step; 0.999 in the paper


def mixed(x: Float[Tensor, "n *s"], others: Float[Tensor, "n *s"], share: Float[Tensor, " n"]) -> Float[Tensor, "n *s"]:
    """Share * x + (1 - share) * others, row by row (eq. 10 and 11)."""
    return torch.lerp(others, x, share.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1)))


def of_all_processes(parts: Sequence[Float[Tensor, "_ *s"]]) -> Float[Tensor, "m *s"]:
    """All processes' first parts, then their second ones and so on, as one process would have them."""
    return torch.cat([dist.gather(part) for part in parts])


def places(sizes: Sequence[int]) -> Int64[Tensor, " n"]:
    """Where the rows of this process's parts, of these sizes, stand among those of all."""
    starts = accumulate([size * dist.world() for size in sizes], initial=0)
    own = [start + dist.rank() * size + torch.arange(size) for start, size in zip(starts, sizes, strict=False)]
    return torch.cat(own)


def mixmatch_loss(
    logits: Float[Tensor, "n k"], targets: Float[Tensor, "n k"], known: Bool[Tensor, " n"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy against the targets on the known rows (eq. 3), squared error of the softmax on the rest (eq. 4).

    Each is a mean over its rows, 0 where there are none (see `mean_of`); the second is one over the classes too. No
    gradient reaches the targets.
    """
    targets = targets.detach()
    ce = F.cross_entropy(logits, targets, reduction="none")
    sq = (logits.softmax(dim=1) - targets).square().mean(dim=1)
    return mean_of((ce * known).sum(), known.sum()), mean_of((sq * ~known).sum(), (~known).sum())


class MixMatch(Averaged):
    """The method; the model that it leaves is the slow copy. Where the head has several levels, losses are summed.

    A labelled image whose label is not known at a level is unlabelled there: it has its own guess, of its one view, and
    the squared error. Images are mixed once for all levels. Running statistics come from the mixed images alone, as in
    the authors' code: the guessed views are the same images again.
    """

    Params = MixMatchParams
    progress: Tensor

    def __init__(self, backbone: Backbone, task: Task, params: MixMatchParams) -> None:
        net = Classifier(backbone, Levels(backbone.dim, task.targets.names), task.size)
        super().__init__(net, task, params.keep)
        self.params = params
        self.partly = bool((task.targets.labels < 0).any())  # whether labelled images must be guessed too
        wanted = [target(params.align, task.targets, i) for i in range(len(task.targets.names))]
        self.aligns = nn.ModuleList(nn.Identity() if w is None else Alignment(w, params.align_keep) for w in wanted)
        self.register_buffer("progress", torch.zeros(()))

    def feed(self, images: Pixels) -> Callable[[int], Batch]:
        """So many weak views of each unlabelled image."""
        return Feed(images, self.task, ratio=self.params.ratio, views=[self.task.common.weak] * self.params.views)

    def loss(self, batch: Batch) -> Step:
        """Labelled loss plus the risen `weight` times the unlabelled one (eq. 5), summed over the levels."""
        guesses = self.guess(batch)
        images = [batch.labelled, *batch.views]
        sizes = [len(part) for part in images]
        order, share = self.draw(sizes, batch.labelled.device)

        def mix(parts: Sequence[Float[Tensor, "_ *s"]]) -> Float[Tensor, "n *s"]:
            return mixed(torch.cat(list(parts)), of_all_processes(parts)[order], share)

        out = through(self.net, mix(images).split(sizes), self.task.common.batch_norm)
        losses = []
        for i, level in enumerate(guesses):
            logits = torch.cat([part[level] for part in out])
            targets, known = self.targets(batch, batch.label[:, i], guesses[level])
            losses.append(mixmatch_loss(logits, mix(targets.split(sizes)), known))
        labelled, unlabelled = (torch.stack(terms).sum() for terms in zip(*losses, strict=True))
        rise = (self.progress / self.params.ramp).clamp(max=1) if self.params.ramp else 1.0
        logs = {"labelled": labelled, "unlabelled": unlabelled}
        for level, q in guesses.items():
            logs["sure" if level == "label" else f"sure_{level}"] = q[: len(batch.rows)].amax(dim=1).mean()
        return Step(labelled + self.params.weight * rise * unlabelled, logs)

    @torch.no_grad()
    def guess(self, batch: Batch) -> dict[str, Float[Tensor, "g k"]]:
        """Guesses at each level of the unlabelled images, then of the labelled ones if some need one (eq. 6 and 7)."""
        labelled = batch.labelled if self.partly else batch.labelled[:0]
        with statistics_kept(self.net):
            *views, rest = through(self.net, [*batch.views, labelled], self.task.common.batch_norm)
        found = {}
        for level, align in zip(rest, self.aligns, strict=True):
            p = torch.stack([view[level].softmax(dim=1) for view in views]).mean(dim=0)
            p = torch.cat([p, rest[level].softmax(dim=1)])
            found[level] = sharpen(align(p), self.params.sharpen)
        return found

    def targets(
        self, batch: Batch, label: Int64[Tensor, " b"], q: Float[Tensor, "g k"]
    ) -> tuple[Float[Tensor, "n k"], Bool[Tensor, " n"]]:
        """At a level the target of each labelled image and each view, and whether it is a label."""
        guess, rest = q[: len(batch.rows)], q[len(batch.rows) :]
        first, known = F.one_hot(label.clamp(min=0), q.shape[1]).to(q.dtype), label >= 0
        if self.partly:
            first = torch.where(known[:, None], first, rest)
        views = guess.repeat(len(batch.views), 1)
        return torch.cat([first, views]), torch.cat([known, known.new_zeros(len(views))])

    def draw(self, sizes: Sequence[int], device: torch.device) -> tuple[Int64[Tensor, " n"], Float[Tensor, " n"]]:
        """What each image is mixed with, and its own share of at least a half (eq. 8 and 9), by torch's own chance.

        The images are those of this process's parts, of these sizes, and their partners rows of `of_all_processes`: all
        is drawn for the whole batch, and each process keeps its own.
        Each image has a share of its own, as the equations are of a pair and as the authors do: one for all would make
        some steps' images nearly whole and other steps' half mixed.
        """
        own = places(sizes)
        if self.params.alpha == 0:
            return own.to(device), torch.ones(len(own), device=device)
        count = len(own) * dist.world()
        order, share = torch.randperm(count), Beta(self.params.alpha, self.params.alpha).sample((count,))
        return order[own].to(device), torch.maximum(share, 1 - share)[own].to(device)

    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the slow copy and the mean guesses, and notes how far the run is."""
        super().after_step(step, num_steps)
        for align in self.aligns:
            if isinstance(align, Alignment):
                align.after_step()
        self.progress.fill_(step / num_steps)
