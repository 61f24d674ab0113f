"""Barlow Twins: make the features of two views agree, each feature with itself and with no other.

Zbontar et al. 2021, "Barlow Twins: self-supervised learning via redundancy reduction". The letters: z1 and z2 are the
projections of an image's two views, c is their correlation over the batch.
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import feature_std, in_float32
from pipeline.parallel import dist
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised

EPS = 1e-5  # beside the variance, as in batch norm


class BarlowTwinsParams(MethodParams):
    """The block `pretrain.barlow_twins`."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)  # of two hidden layers
    off_diagonal: float = Field(ge=0)  # lambda, the weight of a correlation between two features
    scale: float = Field(gt=0)  # of the loss


@in_float32
def barlow_twins_loss(
    z1: Float[Tensor, "b d"], z2: Float[Tensor, "b d"], off_diagonal: float, scale: float
) -> Float[Tensor, ""]:
    """The sum over i of (1 - c_ii)^2 + off_diagonal * that over i != j of c_ij^2 (eq. 1 and 2), times `scale`.

    c (d, d) is the correlation over the batch of all processes, each of which finds the same number; deviations are
    those of batch norm, over N and not N - 1. A sum over features, not a mean: it grows with d. Gradients reach both.
    """
    n = len(z1) * dist.world()
    c = dist.total(_standard(z1, n).T @ _standard(z2, n)) / n
    sq = (c - torch.eye(len(c), dtype=c.dtype, device=c.device)).square()
    return scale * (off_diagonal * sq.sum() + (1 - off_diagonal) * sq.diagonal().sum())


class BarlowTwins(SelfSupervised[BarlowTwinsParams]):
    """The method around `barlow_twins_loss`."""

    Params = BarlowTwinsParams

    def __init__(self, backbone: Backbone, params: BarlowTwinsParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.encoder = Encoder(
            backbone, mlp([backbone.dim, params.hidden_dim, params.hidden_dim, params.dim], norm=True)
        )

    def loss(self, views: Views) -> Step:
        # Each view has batch-norm statistics of its own.
        (h1, z1), (h2, z2) = self.encoder(views.first), self.encoder(views.second)
        loss = barlow_twins_loss(z1, z2, self.params.off_diagonal, self.params.scale)
        return Step(loss, {"feature_std": feature_std(z1)}, [h1, h2])


def _standard(z: Float[Tensor, "b d"], n: int) -> Float[Tensor, "b d"]:
    """Columns of mean 0 and variance 1 over the n rows of all processes."""
    centred = z - dist.total(z.sum(0)) / n
    return centred * (dist.total(centred.square().sum(0)) / n + EPS).rsqrt()
