"""PromptCAL: GCD that also draws together the images that are neighbours of the same ones (Zhang et al. 2023).

"PromptCAL: Contrastive affinity learning via auxiliary prompts for generalized novel category discovery". Of it the
contrastive affinity learning is here; prompts, which need a vision transformer, are not.
"""

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.base import rng
from pipeline.base.errors import ParamsError
from pipeline.fit import Step
from pipeline.nn import ema
from pipeline.nn.backbones import Backbone
from pipeline.nn.memory import Queue, Ring
from pipeline.nn.primitives import soft_ce, unit
from pipeline.parallel import dist
from pipeline.train.affinity import affinity, belonging
from pipeline.train.discovery import Discovery, DiscoveryParams
from pipeline.train.paws_feed import PawsBatch
from pipeline.train.task import Task


class PromptCalParams(DiscoveryParams):
    """The block `train.promptcal`."""

    affinity: float = Field(ge=0)  # weight of the loss of images that belong together
    warmup: float = Field(ge=0, le=1)  # share of the steps in which the weight rises linearly from 0
    affinity_temperature: float = Field(gt=0)
    neighbours: int = Field(ge=1)
    quantile: float = Field(ge=0, lt=1)  # of the affinities above 0: those above it count
    queue_size: int = Field(ge=1)  # the teacher's projections of earlier steps; cut to the number of images
    momentum: float = Field(ge=0, lt=1)  # of the teacher


class PromptCal(Discovery[PromptCalParams]):
    """`Discovery` plus `affinity` times a cross-entropy of projections among a target encoder's of this and past steps.

    Its positives, all of one weight, are those of `belonging`. The target encoder is the moving average of
    backbone and projector. With weight 0 it is GCD. Departures: no prompts, and so one stage; the target encoder sees
    an image's second view, in the authors' code the student's own; the quantile is of all affinities of a batch.
    """

    Params = PromptCalParams
    known: Tensor

    def __init__(self, backbone: Backbone, task: Task, params: PromptCalParams) -> None:
        """Raises ParamsError where `Discovery` does, and where a batch has no more images than a neighbourhood."""
        super().__init__(backbone, task, params)
        size = params.per_class * min(params.classes, len(task.targets.labelled_classes)) + params.num_unlabelled
        if params.neighbours >= size:
            raise ParamsError(
                f"train.promptcal.neighbours: expected less than {size}, the images of a batch, got {params.neighbours}"
            )
        self.target = ema.frozen_copy(self.net)
        chance = torch.Generator().manual_seed(rng.number(task.seed, "train", "queue"))
        self.queue = Queue(min(params.queue_size, task.num_images), params.dim, chance)
        self.queue_label = Ring(torch.full((len(self.queue),), -1))
        self.register_buffer("known", task.known, persistent=False)
        self._waiting: list[tuple[Tensor, Tensor]] = []  # supports, then the others

    def loss(self, batch: PawsBatch) -> Step:
        """The curve has what is added, as `affinity`, and how many `positives` a projection has, itself too."""
        parts, params = self.projections(batch), self.params
        step = self.contrast(batch, parts)
        if params.affinity == 0:
            return step
        first, _, one, _ = parts
        with torch.no_grad():
            z = unit(self.target(torch.cat([batch.labelled.chunk(2)[1], batch.views[1]]))[1])
        labels = batch.label[: len(first)], self.known[batch.rows]
        self._waiting = list(zip(z.split([len(first), len(one)]), labels, strict=True))
        nodes, label, own = self._nodes()
        absent = torch.arange(len(nodes), device=nodes.device) >= len(nodes) - len(self.queue) + self.queue.count
        found = affinity(nodes, absent, own, label, params.neighbours)
        positive = belonging(found, own, label, params.quantile) & ~absent
        targets = positive / positive.sum(dim=1, keepdim=True).to(nodes.dtype)
        loss = soft_ce(torch.cat([first, one]), nodes, targets, params.affinity_temperature, absent.expand_as(positive))
        weight = params.affinity * min(1.0, self.progress / params.warmup if params.warmup > 0 else 1.0)
        logs = {**step.logs, "affinity": loss, "positives": positive.sum(dim=1).float().mean()}
        return Step(step.loss + weight * loss, logs)

    def _nodes(self) -> tuple[Float[Tensor, "n d"], Int64[Tensor, " n"], Int64[Tensor, " b"]]:
        """Vectors of all processes' batches, supports first, and of the queue; their labels; which are this one's."""
        vectors, labels = zip(*self._waiting, strict=True)
        own, before = [], 0
        for rows in vectors:
            total, part = dist.global_batch(len(rows))
            own.append(before + torch.arange(total, device=rows.device)[part])
            before += total
        nodes = torch.cat([*map(dist.gather, vectors), self.queue.rows])
        return nodes, torch.cat([*map(dist.gather, labels), self.queue_label.rows]), torch.cat(own)

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the averages, then puts the target encoder's vectors in place of the queue's oldest."""
        super().after_step(step, num_steps)
        ema.update(self.target, self.net, self.params.momentum, buffers=False)
        for z, label in self._waiting:
            self.queue.push(z)
            self.queue_label.push(label)
        self._waiting = []
