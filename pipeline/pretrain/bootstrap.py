"""What BYOL and its relative share: a teacher that is the network's moving average, and what predicts how it sees."""

from typing import TypeVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pipeline.nn import ema
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import regress
from pipeline.pretrain.method import MethodParams, SelfSupervised


class BootstrapParams(MethodParams):
    """The values that all of them have."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)  # of the projector and of the predictor
    momentum_start: float = Field(ge=0, lt=1)  # of the teacher at the first step
    momentum_end: float = Field(ge=0, le=1)


P = TypeVar("P", bound=BootstrapParams)


def byol_loss(
    p1: Float[Tensor, "b d"], p2: Float[Tensor, "b d"], z1: Float[Tensor, "b d"], z2: Float[Tensor, "b d"]
) -> Float[Tensor, ""]:
    """Squared distance of the unit vectors of p1 and z2, plus that of p2 and z1 (eq. 2), mean over the batch.

    From 0, where each prediction points where its target does, to 8. No gradient reaches z1 and z2.
    """
    return regress(p1, z2[:, None]) + regress(p2, z1[:, None])


class Bootstrap(SelfSupervised[P]):
    """Student, predictor and teacher; a method adds its loss."""

    head_at = "student.head"

    def __init__(self, backbone: Backbone, params: P, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.student = Encoder(backbone, mlp([backbone.dim, params.hidden_dim, params.dim], norm=True, last_bias=False))
        self.predictor = self.new_predictor()
        self.teacher = ema.frozen_copy(self.student)

    def new_predictor(self) -> nn.Sequential:
        """From projections to projections, with random weights."""
        p = self.params
        return mlp([p.dim, p.hidden_dim, p.dim], norm=True, last_bias=False)

    def between(
        self, first: Float[Tensor, "b c h w"], second: Float[Tensor, "b c h w"], predictor: nn.Module
    ) -> tuple[Float[Tensor, ""], list[Float[Tensor, "b f"]], Float[Tensor, "b d"]]:
        """`byol_loss` of two images that show the same, the features of both, and the first one's projection."""
        with torch.no_grad():
            (_, target1), (_, target2) = self.teacher(first), self.teacher(second)
        (h1, z1), (h2, z2) = self.student(first), self.student(second)
        return byol_loss(predictor(z1), predictor(z2), target1, target2), [h1, h2], z1

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the teacher, ever less: its momentum goes up along half a cosine."""
        p = self.params
        ema.cosine_update(self.teacher, self.student, p.momentum_start, p.momentum_end, step / num_steps)
