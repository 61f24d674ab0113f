"""PAWS: each view's class, by its likeness to labelled images, is taught to the other views (Assran et al. 2021).

"Semi-supervised learning of visual features by non-parametrically predicting view assignments with support samples".
The letters: p are predictions for v views of u images, the two large views first, over the r classes of a step; q are
those of the large ones made sharp, the targets.
"""

import logging
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone, try_size
from pipeline.nn.classifier import AT_ONCE, Classifier
from pipeline.nn.heads import LINEAR, Head, Levels, Nearest, soft_nearest
from pipeline.nn.mlp import mlp
from pipeline.nn.norm import statistics_kept
from pipeline.parallel import dist
from pipeline.train.averaged import Averaged, known_ce
from pipeline.train.centroids import start_at_centroids
from pipeline.train.passes import through
from pipeline.train.paws_feed import LOCAL, PawsBatch, PawsFeed
from pipeline.train.pixels import Pixels
from pipeline.train.sharpen import sharpen
from pipeline.train.task import Task
from pipeline.views.kinds import ContrastiveView, LocalCrops

log = logging.getLogger(__name__)
LEAST = 1e-12  # what a probability is at least before its logarithm
DROPPED = 1e-4  # entries of a target below this are 0, as in the authors' code


class PawsParams(Block):
    """The block `train.paws`."""

    per_class: int = Field(ge=1)  # labelled images of each class in a batch, some of them several times if need be
    classes: int = Field(ge=2)  # classes in a batch, at most
    num_unlabelled: int = Field(ge=2)  # images in a batch
    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)
    predictor_dim: int = Field(ge=0)  # width of the prediction head; 0: none
    temperature: float = Field(gt=0)  # tau, of the likeness
    smoothing: float = Field(ge=0, lt=1)  # of the labels, spread evenly over the classes of a batch
    sharpen: float = Field(gt=0)  # T, of the targets: the smaller, the harder
    me_max: float = Field(ge=0)  # weight of the term that keeps the mean prediction even
    keep: float = Field(ge=0, lt=1)  # share of the slow copy that is kept at each step
    view: ContrastiveView
    local: LocalCrops


def smooth(place: Int64[Tensor, " s"], num_classes: int, smoothing: float) -> Float[Tensor, "s r"]:
    """One-hot rows of which the share `smoothing` is spread over all classes."""
    return F.one_hot(place, num_classes) * (1 - smoothing) + smoothing / num_classes


def paws_loss(p: Float[Tensor, "v u r"], q: Float[Tensor, "2 u r"]) -> Float[Tensor, ""]:
    """Mean cross-entropy H(q, p) over all views and images (eq. 2, first term).

    Each large view has the other's q for its target, a small one the mean of both. No gradient reaches q.
    """
    q = q.detach()
    targets = torch.cat([q.flip(0), q.mean(dim=0).expand(len(p) - 2, -1, -1)])
    targets = targets.masked_fill(targets < DROPPED, 0)
    return -(targets * p.clamp(min=LEAST).log()).sum(dim=-1).mean()


def me_max_loss(p: Float[Tensor, "v u r"], temperature: float) -> Float[Tensor, ""]:
    """Minus the entropy of all processes' mean sharpened prediction (eq. 2, second term): in [-log r, 0]."""
    mean = dist.total(sharpen(p, temperature).mean(dim=(0, 1))) / dist.world()
    return (mean * mean.clamp(min=LEAST).log()).sum()


class Seen(Head):
    """What training reads of an image: projection, the prediction head's output, the linear layer's logits."""

    def __init__(self, head: Nearest, predictor: nn.Module) -> None:
        super().__init__({})
        self.head, self.predictor = head, predictor

    def forward(self, h: Float[Tensor, "b f"]) -> dict[str, Float[Tensor, "b _"]]:
        """All three; the linear layer passes no gradient to the features."""
        z = self.head.projector(h)
        return {"target": z, "anchor": self.predictor(z), "label": self.head.layer(h.detach())}

    def linear(self) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
        """The head's."""
        return self.head.linear()


class Paws(Averaged):
    """The method; the model that it leaves is the slow copy with the labelled images in its head.

    Departures: classes are those that have a label, for labels' smoothing and for the me-max term alike, so an image
    is never drawn to a class without one. A class with few labels gives some of them several times. In place of
    fine-tuning afterwards, a linear layer learns from the supports' features all along, and sends no gradient into
    them. `train.batch_size`, `train.sampling` and the views of `train` are not looked at.
    """

    Params = PawsParams

    def __init__(self, backbone: Backbone, task: Task, params: PawsParams) -> None:
        if params.local.count:
            try_size(backbone, params.local.size(task.size, LOCAL))
        classes = task.targets.classes
        head = Nearest(
            backbone.dim,
            {"label": classes, LINEAR: classes},
            hidden_dim=params.hidden_dim,
            out_dim=params.dim,
            temperature=params.temperature,
            num_supports=len(task.targets.rows),
        )
        super().__init__(Classifier(backbone, head, task.size), task, params.keep)
        self.params = params
        reached = len(task.targets.reached)
        if reached > params.classes:
            log.info(
                "each batch has supports of %d of the %d classes with a label: train.paws.classes",
                params.classes,
                reached,
            )
        dims = [params.dim, params.predictor_dim, params.dim]
        self.predictor = mlp(dims, norm=True) if params.predictor_dim else nn.Identity()

    def feed(self, images: Pixels) -> Callable[[int], PawsBatch]:
        """Supports and unlabelled images."""
        own = self.params
        return PawsFeed(
            images,
            self.task,
            per_class=own.per_class,
            classes=own.classes,
            num_unlabelled=own.num_unlabelled,
            view=own.view,
            local=own.local,
        )

    def start(self, images: Pixels) -> None:
        """The linear layer alone may begin at the class centroids."""
        if self.task.common.head == "centroids":
            self.train()  # as in the steps to come
            levels = Levels(self.net.backbone.dim, self.task.targets.names).to(images.device)
            start_at_centroids(Classifier(self.net.backbone, levels, self.net.size), images, self.task.targets)
            for net in (self.net, self.slow):
                nearest(net).layer.load_state_dict(levels.layer(0).state_dict())

    def loss(self, batch: PawsBatch) -> Step:
        """The unlabelled loss, the me-max term and the linear layer's own, which touches that layer only.

        The supports are those of all processes.
        """
        own = self.params
        seen = Classifier(self.net.backbone, Seen(nearest(self.net), self.predictor), self.net.size)
        support, *large = through(seen, [batch.labelled, *batch.views], self.task.common.batch_norm)
        with statistics_kept(seen):
            small = through(seen, [batch.local.flatten(0, 1)], "joint") if len(batch.local) else []
        answers = smooth(dist.gather(batch.place), len(batch.classes), own.smoothing)

        def predicted(what: str, views: list[dict[str, Tensor]]) -> Float[Tensor, "b r"]:
            supports = dist.gather(support[what])
            return soft_nearest(torch.cat([view[what] for view in views]), supports, answers, own.temperature)

        p = predicted("anchor", [*large, *small]).unflatten(0, (2 + len(batch.local), -1))
        with torch.no_grad():
            q = sharpen(predicted("target", large), own.sharpen).unflatten(0, (2, -1))
        logs = {
            "labelled": known_ce(support["label"], batch.label),
            "unlabelled": paws_loss(p, q),
            "me_max": me_max_loss(p, own.sharpen),
            "sure": q.amax(dim=-1).mean(),
        }
        return Step(logs["unlabelled"] + own.me_max * logs["me_max"] + logs["labelled"], logs)

    @torch.no_grad()
    def result(self, images: Pixels) -> Classifier:
        """The slow copy; its head compares with all labelled images, without augmentation or prediction head.

        Every class that has a label weighs the same, as it does in training, whatever the number of its labels.
        """
        targets, head = self.task.targets, nearest(self.slow.eval())
        parts = [self.slow.backbone(part) for part in images.stream(targets.rows.split(AT_ONCE))]
        head.supports.copy_(F.normalize(head.projector(torch.cat(parts)), dim=1))
        reached, place, counts = targets.labels[:, 0].unique(return_inverse=True, return_counts=True)
        weights = len(place) / (len(reached) * counts[place])
        answers = smooth(place, len(reached), self.params.smoothing) * weights[:, None]
        head.answers.zero_()
        head.answers[:, reached.to(head.answers.device)] = answers.to(head.answers)
        return self.slow


def nearest(net: Classifier) -> Nearest:
    """The head."""
    assert isinstance(net.head, Nearest)
    return net.head
