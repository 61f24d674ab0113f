"""Distill: a student learns a trained teacher's logits on all images (Chen et al. 2020, SimCLRv2's last step).

"Big self-supervised models are strong semi-supervised learners". The teacher is the result of an earlier `train`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from pydantic import Field, field_validator
from torch import Tensor

from pipeline.base.errors import ArtifactError
from pipeline.base.params import Block, Params
from pipeline.fit import Step
from pipeline.nn.backbones import BACKBONES, Backbone, try_size
from pipeline.nn.classifier import Classifier
from pipeline.train.batch import SemiBatch, SemiFeed
from pipeline.train.losses import labelled_ce
from pipeline.train.method import EmaMethod
from pipeline.train.passes import forward_parts
from pipeline.train.pixels import Pixels, for_all_images
from pipeline.train.task import Task

SAME = "same"


class DistillParams(Block):
    """The block `train.distill`."""

    teacher: str  # a folder that train wrote
    backbone: str  # of the student: same, the one that train is given; or a block of pretrain.backbones, untrained
    options: dict[str, Any]  # the values of that block; same has none
    ratio: int = Field(ge=1)  # unlabelled images for each labelled one in a batch
    alpha: float = Field(ge=0, le=1)  # weight of the teacher's logits; 1 - alpha is that of the labels
    temperature: float = Field(gt=0)  # of both networks' logits; above 1 the targets are softer

    @field_validator("backbone")
    @classmethod
    def _exists(cls, value: str) -> str:
        if value not in (SAME, *BACKBONES):
            raise ValueError(f"one of {', '.join((SAME, *BACKBONES))}")
        return value

    @field_validator("options")
    @classmethod
    def _used(cls, value: dict[str, Any], info: Any) -> dict[str, Any]:
        if value and info.data.get("backbone") == SAME:
            raise ValueError(f"none with backbone {SAME}")
        return value


def distill_loss(student: Float[Tensor, "u k"], teacher: Float[Tensor, "u k"], temperature: float) -> Float[Tensor, ""]:
    """Cross-entropy of softmax(student / T) against softmax(teacher / T), mean over the images (eq. 2).

    No gradient reaches the teacher.
    """
    return F.cross_entropy(student / temperature, (teacher.detach() / temperature).softmax(dim=1))


class Distill(EmaMethod[SemiBatch, DistillParams]):
    """The method.

    Departures: the teacher sees each image once, as it is, where the authors show it the student's view; the student
    sees weak views, whose shifts are smaller than the authors' crops.
    """

    Params = DistillParams

    def __init__(self, backbone: Backbone, task: Task, params: DistillParams) -> None:
        teacher = read_teacher(Path(params.teacher), task, backbone.about["channels"])
        student = backbone if params.backbone == SAME else untrained_student(params, backbone, task.size)
        super().__init__(student, task, params)
        self.files = [Path(params.teacher) / f"model.{kind}" for kind in ("json", "safetensors")]
        self._teacher: tuple[Classifier, ...] = (teacher,)  # a tuple, so that it is no part of this network
        self._teacher_logits: Float32[Tensor, "n k"] | None = None

    def feed(self, images: Pixels) -> Callable[[int], SemiBatch]:
        """A weak view of each unlabelled image, with alpha 1 of them alone; the teacher sees all images here, once."""
        if self._teacher_logits is None:
            (teacher,), self._teacher = self._teacher, ()
            self._teacher_logits = teacher_logits(teacher, images, self.task.targets.classes)
        feed = SemiFeed(images, self.task, ratio=self.params.ratio, views=(self.task.common.weak,))
        return feed if self.params.alpha < 1 else lambda step: _unlabelled(feed(step))

    def start(self, images: Pixels) -> None:
        """As in other methods, but not for an untrained student: its features have no centroids worth a start."""
        if self.params.backbone == SAME:
            super().start(images)

    def loss(self, batch: SemiBatch) -> Step:
        """(1 - alpha) labelled loss + alpha distillation (eq. 3); with alpha 1 only the start looks at labels."""
        assert self._teacher_logits is not None, "feed comes first"
        alpha = self.params.alpha
        supervised, student = forward_parts(self.net, [batch.labelled, *batch.views], self.task.common.batch_norm)
        labelled = labelled_ce(supervised["label"], batch.label[:, 0])
        distilled = distill_loss(student["label"], self._teacher_logits[batch.rows], self.params.temperature)
        return Step((1 - alpha) * labelled + alpha * distilled, {"labelled": labelled, "distilled": distilled})


def read_teacher(folder: Path, task: Task, channels: int) -> Classifier:
    """The model in a folder that `train` wrote. Raises ArtifactError if it is not one for these images and classes."""
    if not (folder / "model.json").is_file():
        raise ArtifactError(
            f"{folder}: expected a teacher, the model.json and model.safetensors of an earlier train, found none; "
            "copy them there before train writes others"
        )
    teacher = Classifier.read(folder)
    size, wanted = (teacher.channels, *teacher.size), (channels, *task.size)
    if size != wanted:
        raise ArtifactError(f"{folder}: expected a teacher for images of {_shape(wanted)}, got one for {_shape(size)}")
    odd = sorted({*teacher.classes} ^ {*task.targets.classes})
    if odd:
        raise ArtifactError(
            f"{folder}: expected a teacher of the {len(task.targets.classes)} classes that the labels have, "
            f"got one of {len(teacher.classes)}; only one side has {odd[0]!r}"
        )
    return teacher


def untrained_student(params: DistillParams, like: Backbone, size: tuple[int, int]) -> Backbone:
    """A network with fresh weights (from torch's generator), normalised as `like` is."""
    block = Params({"options": params.options}, "params.yaml: train.distill")
    options = block.block("options", BACKBONES[params.backbone])
    net = Backbone(params.backbone, options, like.mean.flatten(), like.std.flatten())
    try_size(net, size)
    return net


def teacher_logits(teacher: Classifier, images: Pixels, classes: Sequence[str]) -> Float32[Tensor, "n k"]:
    """The teacher's logits for all images, its classes in the order of `classes`."""
    teacher.to(images.device).eval()
    order = torch.tensor([teacher.classes.index(name) for name in classes], device=images.device)
    return for_all_images(
        images, teacher.images_a_pass(), len(order), lambda pixels: teacher(pixels)["label"].float()[:, order]
    )


def _shape(sides: tuple[int, int, int]) -> str:
    return " x ".join(map(str, sides))


def _unlabelled(batch: SemiBatch) -> SemiBatch:
    return replace(batch, labelled=batch.labelled[:0], label=batch.label[:0])
