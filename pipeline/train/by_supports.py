"""A view's class, by its similarity to labelled images, is taught to the other views: PAWS and NNCSL.

Assran et al. 2021, "Semi-supervised learning of visual features by non-parametrically predicting view assignments with
support samples", has the equations. The letters: p are predictions for v views of u images, the two large views first,
over r classes of a step; q are those of the large views, sharpened: the targets.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from torch import Tensor, nn

from pipeline.nn.backbones import Backbone, try_size
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import LINEAR, Head, Nearest, soft_nearest
from pipeline.nn.mlp import mlp
from pipeline.nn.norm import statistics_kept
from pipeline.nn.primitives import one_hot, passing
from pipeline.parallel import dist
from pipeline.train.head_start import start_layers
from pipeline.train.losses import labelled_ce
from pipeline.train.method import EmaMethod
from pipeline.train.passes import forward_parts
from pipeline.train.paws_feed import PawsBatch, PawsFeed, PawsFeedParams
from pipeline.train.pixels import Pixels
from pipeline.train.sharpen import sharpen
from pipeline.train.task import Task
from pipeline.views.kinds import LocalCrops

log = logging.getLogger(__name__)
MIN_PROBABILITY = 1e-12  # before its logarithm
MIN_TARGET = 1e-4  # entries of a target below this are 0, as in the authors' code


class SupportParams(PawsFeedParams):
    """The values of the blocks `train.paws` and `train.nncsl`."""

    classes: int = Field(ge=2)  # in a batch, at most: similarity to one class alone says nothing
    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)
    predictor_dim: int = Field(ge=0)  # width of the prediction head; 0: none
    temperature: float = Field(gt=0)  # tau, of the similarity
    smoothing: float = Field(ge=0, lt=1)  # of the labels, spread evenly over the classes of a batch
    sharpen: float = Field(gt=0)  # T, temperature of the targets: the smaller, the harder
    me_max: float = Field(ge=0)  # weight of the term that keeps the mean prediction even
    local: LocalCrops


P = TypeVar("P", bound=SupportParams)


def smooth(place: Int64[Tensor, " s"], num_classes: int, smoothing: float) -> Float[Tensor, "s r"]:
    """One-hot rows of which the share `smoothing` is spread over all classes."""
    return one_hot(place, num_classes) * (1 - smoothing) + smoothing / num_classes


def paws_loss(p: Float[Tensor, "v u r"], q: Float[Tensor, "2 u r"]) -> Float[Tensor, ""]:
    """Mean cross-entropy H(q, p) over all views and images (eq. 2, first term).

    Each large view has the other's q for its target, a small view the mean of both. No gradient reaches q.
    """
    q = q.detach()
    targets = torch.cat([q.flip(0), q.mean(dim=0).expand(len(p) - 2, -1, -1)])
    targets = targets.masked_fill(targets < MIN_TARGET, 0)
    return -(targets * p.clamp(min=MIN_PROBABILITY).log()).sum(dim=-1).mean()


def me_max_loss(p: Float[Tensor, "v u r"], temperature: float) -> Float[Tensor, ""]:
    """Minus the entropy of all processes' mean sharpened prediction (eq. 2, second term): in [-log r, 0]."""
    mean = dist.total(sharpen(p, temperature).mean(dim=(0, 1))) / dist.world()
    return (mean * mean.clamp(min=MIN_PROBABILITY).log()).sum()


class TrainingOutputs(Head):
    """An image's projection (`target`), the prediction head's output (`anchor`), and the linear layer's logits.

    The logits pass the share `gradient` of their gradient on to the features.
    """

    def __init__(self, head: Nearest, predictor: nn.Module, gradient: float) -> None:
        super().__init__({})
        self.head, self.predictor, self.gradient = head, predictor, gradient

    def forward(self, h: Float[Tensor, "b f"]) -> dict[str, Float[Tensor, "b _"]]:
        """All three."""
        z = self.head.projector(h)
        return {"target": z, "anchor": self.predictor(z), "label": self.head.layer(passing(h, self.gradient))}

    def linear(self) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
        return self.head.linear()


class Among(NamedTuple):
    """Those of a batch's classes whose supports count."""

    classes: Int64[Tensor, " c"]  # their numbers, in order
    place: Int64[Tensor, " r"]  # of each class of the batch its place among them, -1 where its supports do not count

    @classmethod
    def of(cls, classes: Int64[Tensor, " r"], counts: Bool[Tensor, " r"]) -> "Among":
        """The batch's classes for which `counts` says so. It waits for the device."""
        return cls(classes[counts], torch.where(counts, counts.cumsum(dim=0) - 1, -1))


class Outputs(NamedTuple):
    """What the network says of a batch: its supports, its large views, all its small views in one."""

    supports: dict[str, Float[Tensor, "s _"]]
    large: list[dict[str, Float[Tensor, "u _"]]]
    small: list[dict[str, Float[Tensor, "vu _"]]]

    def views(self, name: str) -> Float[Tensor, "vu d"]:
        """One output of all views, the large ones first."""
        return torch.cat([view[name] for view in (*self.large, *self.small)])


class BySupports(EmaMethod[PawsBatch, P]):
    """A network whose head compares with labelled images. The model that is left has all of these in its head.

    Departures from PAWS: classes are those that have a label, for the smoothing and for the me-max term alike, so an
    image is never drawn to a class without one. A class with few labels gives some of them several times. In place of
    fine-tuning afterwards, a linear layer learns from the supports' features all along; a share of its gradient goes
    on into them, in PAWS none. `train.batch_size`, `train.sampling`, `train.weak` and `train.strong` have no effect.
    """

    guesses = True

    def __init__(self, backbone: Backbone, task: Task, params: P) -> None:
        if params.local.count:
            try_size(backbone, params.local.size(task.size, f"train.{task.common.method}.local"))
        super().__init__(backbone, task, params)
        dims = [params.dim, params.predictor_dim, params.dim]
        first = nn.BatchNorm1d(params.dim)  # as in the authors' code, before the first layer too
        self.predictor = nn.Sequential(first, *mlp(dims, norm=True)) if params.predictor_dim else nn.Identity()

    def head(self, dim: int) -> Nearest:
        """Similarity to the labelled images, and a linear layer beside it."""
        targets, params = self.task.targets, self.params
        return Nearest(
            dim,
            {"label": targets.classes, LINEAR: targets.classes},
            hidden_dim=params.hidden_dim,
            out_dim=params.dim,
            temperature=params.temperature,
            num_supports=len(targets.rows),
        )

    def feed(self, images: Pixels) -> Callable[[int], PawsBatch]:
        return PawsFeed(images, self.task, self.params, self.params.local)

    def start(self, images: Pixels) -> None:
        """Of the head the linear layer alone may start as `train.head` says."""
        self.train()  # as in the steps to come
        start_layers([nearest(net).layer for net in (self.net, self.ema_net)], self.net, images, self.task)

    def outputs(self, batch: PawsBatch, gradient: float) -> Outputs:
        """Those of `TrainingOutputs`; small views move no running statistics."""
        head = TrainingOutputs(nearest(self.net), self.predictor, gradient)
        net = Classifier(self.net.backbone, head, self.net.size)
        supports, *large = forward_parts(net, [batch.labelled, *batch.views], self.task.common.batch_norm)
        with statistics_kept(net):
            small = forward_parts(net, [batch.local.flatten(0, 1)], "joint") if len(batch.local) else []
        return Outputs(supports, large, small)

    def answers(self, batch: PawsBatch, among: Among) -> tuple[Float[Tensor, "s c"], Bool[Tensor, " s"]]:
        """The soft labels of the supports of all processes, and which of them count."""
        place = among.place[dist.gather(batch.place)]
        return smooth(place.clamp(min=0), len(among.classes), self.params.smoothing), place >= 0

    def paws(self, batch: PawsBatch, outputs: Outputs, among: Among) -> dict[str, Tensor]:
        """PAWS's parts of the loss, with the supports of all processes that count.

        Beside the unlabelled loss and the me-max term there are the linear layer's loss on all supports, and the
        targets' mean confidence.
        """
        params = self.params
        soft_labels, kept = self.answers(batch, among)

        def predictions(z: Float[Tensor, "b d"], output: str) -> Float[Tensor, "b c"]:
            return soft_nearest(z, dist.gather(outputs.supports[output]), soft_labels, params.temperature, kept)

        p = predictions(outputs.views("anchor"), "anchor").unflatten(0, (2 + len(batch.local), -1))
        with torch.no_grad():
            own = predictions(torch.cat([view["target"] for view in outputs.large]), "target")
            guess = self.guess(own, batch.rows.repeat(2), classes=among.classes)
            q = sharpen(guess, params.sharpen).unflatten(0, (2, -1))
        return {
            "labelled": labelled_ce(outputs.supports["label"], batch.label),
            "unlabelled": paws_loss(p, q),
            "me_max": me_max_loss(p, params.sharpen),
            "confidence": q.amax(dim=-1).mean(),
        }

    @torch.no_grad()
    def result(self, images: Pixels) -> Classifier:
        """The averaged network; its head compares with all labelled images, without views or prediction head.

        Every class that has a label weighs the same, as it does in training, whatever the number of its labels.
        """
        targets, head = self.task.targets, nearest(self.ema_net.eval())
        wanted = targets.rows.split(self.ema_net.images_a_pass())
        parts = [self.ema_net.backbone(part) for part in images.stream(wanted)]
        head.supports.copy_(F.normalize(head.projector(torch.cat(parts)), dim=1))
        classes, place, counts = targets.labels[:, 0].unique(return_inverse=True, return_counts=True)
        weights = len(place) / (len(classes) * counts[place])
        soft_labels = smooth(place, len(classes), self.params.smoothing) * weights[:, None]
        head.answers.zero_()
        head.answers[:, classes.to(head.answers.device)] = soft_labels.to(head.answers)
        return self.ema_net


def nearest(net: Classifier) -> Nearest:
    """The head."""
    assert isinstance(net.head, Nearest)
    return net.head
