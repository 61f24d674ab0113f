"""SimReg: a small network learns to give the features that a larger, trained one gives, without any label.

Navaneet et al. 2021, "SimReg: Regression as a simple yet effective tool for self-supervised knowledge distillation".
The letters: t is the teacher's feature of a view, p the student's prediction of it from the same view.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.classifier import read_backbone
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import feature_std, regress
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised


class SimregParams(MethodParams):
    """The block `pretrain.simreg`."""

    teacher: str  # a folder with backbone.safetensors and backbone.json, as pretrain writes them

    @property
    def files(self) -> list[Path]:
        return [Path(self.teacher) / f"backbone.{kind}" for kind in ("json", "safetensors")]


def simreg_loss(p: Float[Tensor, "b d"], t: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """2 - 2 cos(p, t), mean over the batch; from 0 to 4. No gradient reaches t."""
    return regress(p, t[:, None])


class Simreg(SelfSupervised[SimregParams]):
    """The method around `simreg_loss`, the mean over both views.

    Each view goes through both networks as it is; the teacher is in eval mode and no part of the state. The head's
    hidden layers are twice as wide as the features, with batch norm and ReLU after its first and third layer.
    Departure: two views an image and step, where the paper has one.
    """

    Params = SimregParams

    def __init__(self, backbone: Backbone, params: SimregParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        teacher = read_teacher(Path(params.teacher), backbone.about["channels"])
        d = backbone.dim
        head = nn.Sequential(mlp([d, 2 * d, d], norm=True), mlp([d, 2 * d, teacher.dim], norm=True))
        self.encoder = Encoder(backbone, head)
        self._teacher = (teacher.eval().requires_grad_(requires_grad=False),)  # a tuple: no part of this network

    def _apply(self, fn: Any, recurse: bool = True) -> "Simreg":
        """Moves the teacher too, to a device or another precision."""
        self._teacher[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def loss(self, views: Views) -> Step:
        images = torch.cat([views.first, views.second])
        with torch.no_grad():
            t = self._teacher[0](images)
        h, p = self.encoder(images)
        return Step(simreg_loss(p, t), {"feature_std": feature_std(p[: len(views.first)])}, h.chunk(2))


def read_teacher(folder: Path, channels: int) -> Backbone:
    """The backbone in a folder that `pretrain` wrote. Raises ParamsError if none is there, else ArtifactError."""
    if not (folder / "backbone.json").is_file():
        raise ParamsError(
            f"pretrain.simreg.teacher: expected a folder with the backbone.json and backbone.safetensors of an earlier "
            f"pretrain, found none in {folder}"
        )
    teacher = read_backbone(folder)
    if teacher.about["channels"] != channels:
        raise ArtifactError(
            f"{folder}: expected a teacher for images of {channels} channels, got one for {teacher.about['channels']}"
        )
    return teacher
