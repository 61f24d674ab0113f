"""NNCSL: PAWS over rounds whose classes are new, without forgetting those of earlier rounds (Kang et al. 2023).

"A soft nearest-neighbor framework for continual semi-supervised learning". A task of the paper is a round here, its
buffer is the labelled images of earlier rounds, and `previous` is the model that an earlier round left.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from pipeline.base.errors import ArtifactError, ParamsError, first_names
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.classifier import Classifier
from pipeline.nn.device import channels_last
from pipeline.nn.heads import Nearest, soft_nearest
from pipeline.parallel import dist
from pipeline.train.by_supports import MIN_PROBABILITY, Among, BySupports, Outputs, SupportParams, nearest
from pipeline.train.former import require_same, tensors
from pipeline.train.paws_feed import PawsBatch
from pipeline.train.pixels import Pixels
from pipeline.train.task import Task

log = logging.getLogger(__name__)
TAKEN = ("backbone.", "head.projector.")  # what the names of tensors begin with that the former model hands on


class NncslParams(SupportParams):
    """The block `train.nncsl`."""

    previous: str  # a folder with the model of an earlier round, by nncsl or paws; without one this round is the first
    stream: bool  # whether unlabelled images are of new classes alone, as in the paper: only these have PAWS's losses
    supervised: float = Field(ge=0)  # share of the linear layer's gradient that reaches the backbone
    distill: float = Field(ge=0)  # weight of what the former model says of the old classes


def distillation(now: Float[Tensor, "n r"], then: Float[Tensor, "n r"]) -> Float[Tensor, ""]:
    """Mean cross-entropy H(then, now) of two models' predictions for the old classes. No gradient reaches `then`."""
    return -(then.detach() * now.clamp(min=MIN_PROBABILITY).log()).sum(dim=1).mean()


class Nncsl(BySupports[NncslParams]):
    """PAWS's loss, and the cross-entropy H(old, new) of all views' predictions by the supports of old classes.

    Old classes are those that the former model knows; the round begins with its network. Departures from the authors'
    code, beside those of PAWS: the linear layer's own rate is that of all, only what it passes on is weighted; the
    result compares with the labelled images, where the authors take the linear layer; a prediction head, which the
    authors do not use, counts in the new predictions alone; without `stream` PAWS has the supports of all classes.
    """

    Params = NncslParams

    def __init__(self, backbone: Backbone, task: Task, params: NncslParams) -> None:
        super().__init__(backbone, task, params)
        num_labelled = len(task.targets.labelled_classes)
        if num_labelled > params.classes:
            raise ParamsError(
                f"train.nncsl.classes: expected at least {num_labelled}, all classes with a label, as a batch has "
                f"supports of old and of new ones, got {params.classes}"
            )
        self._former: tuple[Classifier, ...] = ()  # a tuple, so that it is no part of this network
        labelled = task.targets.labelled_classes  # those of every batch
        self._old, self._counted = Among.of(labelled, labelled < 0), Among.of(labelled, labelled >= 0)
        folder = Path(params.previous)
        if not (folder / "model.json").is_file():
            if folder.is_file() or (folder / "model.safetensors").is_file():
                raise ArtifactError(
                    f"{folder}: expected a folder with model.json and model.safetensors, or without both"
                )
            log.info("no model in train.nncsl.previous, %s: this is the first round", folder)
            return
        former = read_former(folder, self.net)
        self.files = [folder / f"model.{kind}" for kind in ("json", "safetensors")]
        self._former, old = (former,), old_classes(former, task, folder)
        self._old = Among.of(labelled, old)
        if params.stream and not old.all():
            self._counted = Among.of(labelled, ~old)
            if len(self._counted.classes) == 1:
                log.warning("train.nncsl.stream: one class is new, and has no other to be told from: try false")
        for net in (self.net, self.ema_net):
            go_on(net, former)

    def feed(self, images: Pixels) -> Callable[[int], PawsBatch]:
        self._former = tuple(channels_last(net.to(images.device)).eval() for net in self._former)
        self._old, self._counted = (Among(*(x.to(images.device) for x in of)) for of in (self._old, self._counted))
        return super().feed(images)

    def loss(self, batch: PawsBatch) -> Step:
        """PAWS's parts, the linear layer's loss, and `distill` times the distillation."""
        params, outputs = self.params, self.outputs(batch, self.params.supervised)
        logs = self.paws(batch, outputs, self._counted)
        loss = logs["unlabelled"] + params.me_max * logs["me_max"] + logs["labelled"]
        if self._former:
            logs["distilled"] = self.distilled(batch, outputs)
            loss = loss + params.distill * logs["distilled"]
        return Step(loss, logs)

    def distilled(self, batch: PawsBatch, outputs: Outputs) -> Float[Tensor, ""]:
        """`distillation` over all views, by the supports of old classes of all processes."""
        (former,), temperature = self._former, self.params.temperature
        soft_labels, kept = self.answers(batch, self._old)
        former.to(outputs.supports["anchor"].dtype)  # as exact as the network: in float64 too
        with torch.no_grad():
            parts = [batch.labelled, torch.cat(list(batch.views)), batch.local.flatten(0, 1)]
            z = [nearest(former).projector(former.backbone(part)) for part in parts if len(part)]
            then = soft_nearest(torch.cat(z[1:]), dist.gather(z[0]), soft_labels, temperature, kept)
        supports = dist.gather(outputs.supports["anchor"])
        return distillation(soft_nearest(outputs.views("anchor"), supports, soft_labels, temperature, kept), then)


def read_former(folder: Path, like: Classifier) -> Classifier:
    """The model in a folder that `train` wrote. Raises ArtifactError if `like` cannot go on from it."""
    former = Classifier.read(folder)
    if not isinstance(former.head, Nearest):
        raise ArtifactError(f"{folder}: expected a model by nncsl or paws, got one whose head is {former.head.name}")
    require_same(former, like, TAKEN, folder, "network, projection")
    return former


def old_classes(former: Classifier, task: Task, folder: Path) -> Bool[Tensor, " r"]:
    """Which classes with a label here the former model had labels of. Raises ArtifactError for none, warns of lost.

    A class without a label has no weight in the answers of its supports.
    """
    known = {name for name, weight in zip(former.classes, nearest(former).answers.sum(dim=0), strict=True) if weight}
    labelled = [task.targets.classes[number] for number in task.targets.labelled_classes.tolist()]
    old = torch.tensor([name in known for name in labelled])
    if not old.any():
        raise ArtifactError(
            f"{folder}: expected labels of classes that this model knows, such as {min(known)!r}, got none: keep the "
            "labels and the labelled images of earlier rounds"
        )
    if lost := sorted(known - {*labelled}):
        log.warning("%s: the model knows %s, which have no label now and will be forgotten", folder, first_names(lost))
    return old


@torch.no_grad()
def go_on(net: Classifier, former: Classifier) -> None:
    """Gives the network the former one's backbone, projector and, of the linear layer, the rows of classes it has."""
    net.load_state_dict(tensors(former, TAKEN), strict=False)
    rows = {name: i for i, name in enumerate(former.classes)}
    for number, name in enumerate(net.classes):
        if name in rows:
            nearest(net).layer.weight[number] = nearest(former).layer.weight[rows[name]]
            nearest(net).layer.bias[number] = nearest(former).layer.bias[rows[name]]
