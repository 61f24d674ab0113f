"""BYOL: predict how a slow copy of the network sees an image's other view, without any negatives.

Grill et al. 2020, "Bootstrap your own latent". The letters: z is a view's projection, p the prediction made from it.
"""

import copy

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn import ema, schedule
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import regress, spread
from pipeline.pretrain.feed import Views


class ByolParams(Block):
    """The block `pretrain.byol`."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)  # of the projector and of the predictor
    keep_start: float = Field(ge=0, lt=1)
    keep_end: float = Field(ge=0, le=1)


def byol_loss(
    p1: Float[Tensor, "b d"], p2: Float[Tensor, "b d"], z1: Float[Tensor, "b d"], z2: Float[Tensor, "b d"]
) -> Float[Tensor, ""]:
    """Squared distance of the unit vectors of p1 and z2, plus that of p2 and z1 (eq. 2), mean over the batch.

    From 0, where each prediction points where its target does, to 8. No gradient reaches z1 and z2.
    """
    return regress(p1, z2[:, None]) + regress(p2, z1[:, None])


class Byol(nn.Module):
    """The method around `byol_loss`."""

    Params = ByolParams

    def __init__(self, backbone: Backbone, params: ByolParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__()
        self.params = params
        dims = [params.hidden_dim, params.dim]
        self.online = Encoder(backbone, mlp([backbone.dim, *dims], norm=True, last_bias=False))
        self.predictor = mlp([params.dim, *dims], norm=True, last_bias=False)
        self.slow = copy.deepcopy(self.online).requires_grad_(requires_grad=False)

    def loss(self, views: Views) -> Step:
        """The loss of two views of the same images, each once predicted from the other."""
        with torch.no_grad():
            (_, target1), (_, target2) = self.slow(views.first), self.slow(views.second)
        (h1, z1), (h2, z2) = self.online(views.first), self.online(views.second)
        loss = byol_loss(self.predictor(z1), self.predictor(z2), target1, target2)
        return Step(loss, {"feature_std": spread(z1)}, [h1, h2])

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the slow copy, ever less: the share of it that is kept goes up along half a cosine."""
        keep = schedule.cosine(self.params.keep_start, self.params.keep_end, step / num_steps)
        ema.update(self.slow, self.online, keep, buffers=False)
