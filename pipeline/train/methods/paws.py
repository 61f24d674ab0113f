"""PAWS: a view's class, by its similarity to labelled images, is taught to the other views (Assran et al. 2021).

"Semi-supervised learning of visual features by non-parametrically predicting view assignments with support samples".
The letters: p are predictions for v views of u images, the two large views first, over the r classes of a step; q are
those of the large views, sharpened: the targets.
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
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import LINEAR, Head, Levels, Nearest, soft_nearest
from pipeline.nn.mlp import mlp
from pipeline.nn.norm import statistics_kept
from pipeline.nn.primitives import one_hot
from pipeline.parallel import dist
from pipeline.train.head_start import start_head
from pipeline.train.losses import labelled_ce
from pipeline.train.method import EmaMethod
from pipeline.train.passes import forward_parts
from pipeline.train.paws_feed import LOCAL, PawsBatch, PawsFeed
from pipeline.train.pixels import Pixels
from pipeline.train.sharpen import sharpen
from pipeline.train.task import Task
from pipeline.views.kinds import ContrastiveView, LocalCrops

log = logging.getLogger(__name__)
MIN_PROBABILITY = 1e-12  # before its logarithm
MIN_TARGET = 1e-4  # entries of a target below this are 0, as in the authors' code


class PawsParams(Block):
    """The block `train.paws`."""

    per_class: int = Field(ge=1)  # labelled images of each class in a batch, some of them several times if need be
    classes: int = Field(ge=2)  # classes in a batch, at most
    num_unlabelled: int = Field(ge=2)  # images in a batch
    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)
    predictor_dim: int = Field(ge=0)  # width of the prediction head; 0: none
    temperature: float = Field(gt=0)  # tau, of the similarity
    smoothing: float = Field(ge=0, lt=1)  # of the labels, spread evenly over the classes of a batch
    sharpen: float = Field(gt=0)  # T, temperature of the targets: the smaller, the harder
    me_max: float = Field(ge=0)  # weight of the term that keeps the mean prediction even
    view: ContrastiveView
    local: LocalCrops


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
    """An image's projection (`target`), the prediction head's output (`anchor`), and the linear layer's logits."""

    def __init__(self, head: Nearest, predictor: nn.Module) -> None:
        super().__init__({})
        self.head, self.predictor = head, predictor

    def forward(self, h: Float[Tensor, "b f"]) -> dict[str, Float[Tensor, "b _"]]:
        """All three; the linear layer passes no gradient to the features."""
        z = self.head.projector(h)
        return {"target": z, "anchor": self.predictor(z), "label": self.head.layer(h.detach())}

    def linear(self) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
        return self.head.linear()


class Paws(EmaMethod[PawsBatch, PawsParams]):
    """The method. The model that is left has the labelled images in its head.

    Departures: classes are those that have a label, for the smoothing and for the me-max term alike, so an image is
    never drawn to a class without one. A class with few labels gives some of them several times. In place of
    fine-tuning afterwards, a linear layer learns from the supports' features all along, and sends no gradient into
    them. `train.batch_size`, `train.sampling` and the views of `train` have no effect.
    """

    Params = PawsParams
    guesses = True

    def __init__(self, backbone: Backbone, task: Task, params: PawsParams) -> None:
        if params.local.count:
            try_size(backbone, params.local.size(task.size, LOCAL))
        super().__init__(backbone, task, params)
        num_labelled = len(task.targets.labelled_classes)
        if num_labelled > params.classes:
            says = "each batch has supports of %d of the %d classes with a label: train.paws.classes"
            log.info(says, params.classes, num_labelled)
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
        params = self.params
        return PawsFeed(
            images,
            self.task,
            per_class=params.per_class,
            classes=params.classes,
            num_unlabelled=params.num_unlabelled,
            view=params.view,
            local=params.local,
        )

    def start(self, images: Pixels) -> None:
        """Of the head the linear layer alone may start as `train.head` says."""
        if self.task.common.head != "random":
            self.train()  # as in the steps to come
            levels = Levels(self.net.backbone.dim, self.task.targets.names).to(images.device)
            start_head(Classifier(self.net.backbone, levels, self.net.size), images, self.task)
            for net in (self.net, self.ema_net):
                nearest(net).layer.load_state_dict(levels.layer(0).state_dict())

    def loss(self, batch: PawsBatch) -> Step:
        """The unlabelled loss, the me-max term and the linear layer's loss, which touches that layer only.

        The supports are those of all processes. The curve has the targets' mean confidence.
        """
        params = self.params
        net = Classifier(self.net.backbone, TrainingOutputs(nearest(self.net), self.predictor), self.net.size)
        supports, *large = forward_parts(net, [batch.labelled, *batch.views], self.task.common.batch_norm)
        with statistics_kept(net):
            small = forward_parts(net, [batch.local.flatten(0, 1)], "joint") if len(batch.local) else []
        soft_labels = smooth(dist.gather(batch.place), len(batch.classes), params.smoothing)

        def predictions(output: str, views: list[dict[str, Tensor]]) -> Float[Tensor, "b r"]:
            z = torch.cat([view[output] for view in views])
            return soft_nearest(z, dist.gather(supports[output]), soft_labels, params.temperature)

        p = predictions("anchor", [*large, *small]).unflatten(0, (2 + len(batch.local), -1))
        with torch.no_grad():
            guess = self.guess(predictions("target", large), batch.rows.repeat(2), classes=batch.classes)
            q = sharpen(guess, params.sharpen).unflatten(0, (2, -1))
        logs = {
            "labelled": labelled_ce(supports["label"], batch.label),
            "unlabelled": paws_loss(p, q),
            "me_max": me_max_loss(p, params.sharpen),
            "confidence": q.amax(dim=-1).mean(),
        }
        return Step(logs["unlabelled"] + params.me_max * logs["me_max"] + logs["labelled"], logs)

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
