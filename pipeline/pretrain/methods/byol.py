"""BYOL: predict how a teacher, the network's moving average, sees an image's other view, without any negatives.

Grill et al. 2020, "Bootstrap your own latent". The letters: z is a view's projection, p the prediction made from it.
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from pipeline.fit import Step
from pipeline.nn import ema
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import feature_std, regress
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised


class ByolParams(MethodParams):
    """The block `pretrain.byol`."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)  # of the projector and of the predictor
    momentum_start: float = Field(ge=0, lt=1)  # of the teacher at the first step
    momentum_end: float = Field(ge=0, le=1)


def byol_loss(
    p1: Float[Tensor, "b d"], p2: Float[Tensor, "b d"], z1: Float[Tensor, "b d"], z2: Float[Tensor, "b d"]
) -> Float[Tensor, ""]:
    """Squared distance of the unit vectors of p1 and z2, plus that of p2 and z1 (eq. 2), mean over the batch.

    From 0, where each prediction points where its target does, to 8. No gradient reaches z1 and z2.
    """
    return regress(p1, z2[:, None]) + regress(p2, z1[:, None])


class Byol(SelfSupervised[ByolParams]):
    """The method around `byol_loss`."""

    Params = ByolParams
    head_at = "student.head"

    def __init__(self, backbone: Backbone, params: ByolParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        dims = [params.hidden_dim, params.dim]
        self.student = Encoder(backbone, mlp([backbone.dim, *dims], norm=True, last_bias=False))
        self.predictor = mlp([params.dim, *dims], norm=True, last_bias=False)
        self.teacher = ema.frozen_copy(self.student)

    def loss(self, views: Views) -> Step:
        with torch.no_grad():
            (_, target1), (_, target2) = self.teacher(views.first), self.teacher(views.second)
        (h1, z1), (h2, z2) = self.student(views.first), self.student(views.second)
        loss = byol_loss(self.predictor(z1), self.predictor(z2), target1, target2)
        return Step(loss, {"feature_std": feature_std(z1)}, [h1, h2])

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the teacher, ever less: its momentum goes up along half a cosine."""
        p = self.params
        ema.cosine_update(self.teacher, self.student, p.momentum_start, p.momentum_end, step / num_steps)
