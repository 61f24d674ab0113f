"""Classes without a label are found as clusters of features that labels have shaped: GCD and PromptCAL.

Vaze et al. 2022, "Generalized category discovery": a supervised contrastive loss on the labelled images beside
SimCLR's on all, then k-means of all training images in which labelled ones stay with their class.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from itertools import count, islice
from typing import TypeVar

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.base import rng
from pipeline.base.errors import ParamsError
from pipeline.fit import Step
from pipeline.nn import ema
from pipeline.nn.backbones import Backbone
from pipeline.nn.classifier import INFERENCE_BATCH, Classifier
from pipeline.nn.clusters import moved
from pipeline.nn.contrast import nt_xent, sup_con
from pipeline.nn.heads import Levels
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.pass_size import images_a_pass
from pipeline.nn.primitives import feature_std, unit
from pipeline.nn.semi_kmeans import estimated_classes, numbered, semi_kmeans
from pipeline.parallel import dist
from pipeline.train.method import TrainMethod
from pipeline.train.paws_feed import PawsBatch, PawsFeed, PawsFeedParams
from pipeline.train.pixels import Pixels, for_all_images
from pipeline.train.task import Task

log = logging.getLogger(__name__)


class DiscoveryParams(PawsFeedParams):
    """The values of the blocks `train.gcd` and `train.promptcal`."""

    num_classes: int | None = Field(ge=1)  # with a label or without; null: estimated
    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)  # of the projector, two layers
    supervised: float = Field(ge=0, le=1)  # weight of the labelled loss; the other has the rest
    temperature: float = Field(gt=0)  # of the loss on all images
    supervised_temperature: float = Field(gt=0)


def new_names(known: Collection[str]) -> Iterator[str]:
    """Names for classes without one: new 1, new 2 and so on, but for those that are taken."""
    return (name for number in count(1) if (name := f"new {number}") not in known)


P = TypeVar("P", bound=DiscoveryParams)
Parts = tuple[Float[Tensor, "s d"], Float[Tensor, "s d"], Float[Tensor, "u d"], Float[Tensor, "u d"]]


class Discovery(TrainMethod[PawsBatch, P]):
    """`supervised` times `sup_con` of the labelled images plus the rest times `nt_xent` of images drawn from all.

    The result's classes are those that have a label, in their order, then `new 1`, `new 2` and so on, the largest
    first. A class that is known by name and has no label is none of them. Departures: labelled images have a part of
    the batch of their own, so NT-Xent sees them as often as any image; the projector has two layers and batch norm; the
    result is the moving average of the weights. `train.head`, `train.batch_size`, `train.sampling`, `train.batch_norm`,
    `train.weak` and `train.strong` have no effect.
    """

    def __init__(self, backbone: Backbone, task: Task, params: P) -> None:
        """Raises ParamsError where `num_classes` is below the number of classes with a label, or above the images'.

        It is refused too where there is none and all labels are of one class: then nothing tells how many there are.
        """
        super().__init__(backbone, task, params)
        self._key = f"train.{task.common.method}.num_classes"
        labelled, most = len(task.targets.labelled_classes), task.num_images
        if params.num_classes is None and labelled == 1:
            raise ParamsError(
                f"{self._key}: expected a number where all labels are of one class, as these do not tell how "
                "many classes there are, got null"
            )
        if params.num_classes is not None and not labelled <= params.num_classes <= most:
            raise ParamsError(
                f"{self._key}: expected {labelled}, the classes that have a label, to {most}, the training "
                f"images, got {params.num_classes}; null estimates it"
            )
        self.net = Encoder(backbone, mlp([backbone.dim, params.hidden_dim, params.dim], norm=True))
        self.ema_net = ema.frozen_copy(backbone)

    def feed(self, images: Pixels) -> Callable[[int], PawsBatch]:
        return PawsFeed(images, self.task, self.params)

    def start(self, images: Pixels) -> None:
        """Nothing is set: no layer knows a class before the training is over."""

    def projections(self, batch: PawsBatch) -> Parts:
        """Unit vectors of both views of the supports, then of the others. One pass: batch norm sees all views."""
        parts = [*batch.labelled.chunk(2), *batch.views]
        first, second, one, two = unit(self.net(torch.cat(parts))[1]).split([len(part) for part in parts])
        return first, second, one, two

    def contrast(self, batch: PawsBatch, parts: Parts) -> Step:
        """The loss of these projections."""
        params, (first, second, one, two) = self.params, parts
        logs = {
            "labelled": sup_con(first, second, batch.label[: len(first)], params.supervised_temperature),
            "unlabelled": nt_xent(one, two, params.temperature),
            "feature_std": feature_std(one),
        }
        loss = params.supervised * logs["labelled"] + (1 - params.supervised) * logs["unlabelled"]
        return Step(loss, logs)

    @torch.no_grad()
    def result(self, images: Pixels) -> Classifier:
        """The averaged backbone with a layer whose logits are cosines to the centroids of all images' clusters.

        The cosines stand over `supervised_temperature` and, as the layer is linear, over the mean length of features.
        """
        targets, net = self.task.targets, self.ema_net.eval()
        batch_size = images_a_pass(net, (net.about["channels"], *self.task.size), INFERENCE_BATCH)
        h = for_all_images(images, batch_size, net.dim, lambda pixels: net(pixels).float())
        x, classes = unit(h), targets.labelled_classes
        known = torch.full((len(x),), -1)
        known[targets.rows] = torch.searchsorted(classes, targets.labels[:, 0])
        cluster = dist.from_first(self._clusters(x, known.to(x.device), len(classes)).cpu()).to(x.device)
        names = [targets.classes[c] for c in classes.tolist()]
        names += islice(new_names(targets.classes), int(cluster.max()) + 1 - len(names))
        head = Levels(net.dim, {"label": names}).to(x.device)
        centroids = moved(x, cluster, torch.zeros_like(head.layer(0).weight))
        head.layer(0).weight.copy_(centroids / (self.params.supervised_temperature * h.norm(dim=1).mean()))
        return Classifier(net, head, self.task.size)

    def _clusters(self, x: Float[Tensor, "n f"], known: Int64[Tensor, " n"], classes: int) -> Int64[Tensor, " n"]:
        """The cluster of each image; its class where it has one, the first `classes`."""
        chance = torch.Generator().manual_seed(rng.number(self.task.seed, "train", "clusters"))
        k = self.params.num_classes
        if k is None:
            k = estimated_classes(x, known, chance)
            log.info("probably %d classes, %d of them without a label (%s)", k, k - classes, self._key)
        return numbered(semi_kmeans(x, known, k, chance).labels, classes)

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        momentum = ema.warm_momentum(self.task.common.ema_momentum, step)
        ema.update(self.ema_net, self.net.backbone, momentum, buffers=True)
