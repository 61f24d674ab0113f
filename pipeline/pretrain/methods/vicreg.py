"""VICReg: make two views agree, while each feature keeps its spread over the batch and tells nothing of another.

Bardes et al. 2022, "VICReg: variance-invariance-covariance regularization". The letters: z1 and z2 are the projections
of an image's two views, c is the covariance of one view's features over the batch.
"""

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Generator, Tensor

from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import feature_std, in_float32
from pipeline.parallel import dist
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised

EPS = 1e-4  # beside the variance: the slope of a square root has no bound at 0


class VicregParams(MethodParams):
    """The block `pretrain.vicreg`."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)  # of two hidden layers
    invariance: float = Field(ge=0)  # the weights of the three terms
    variance: float = Field(ge=0)
    covariance: float = Field(ge=0)


@in_float32
def vicreg_loss(
    z1: Float[Tensor, "b d"], z2: Float[Tensor, "b d"], invariance: float, variance: float, covariance: float
) -> Float[Tensor, ""]:
    """The three terms by their weights (eq. 6), as the authors' code scales them.

    Invariance is the squared difference, a mean over b and d. Variance is what the deviation of a feature lacks of 1, a
    mean over features and views. Covariance is the sum over i != j of c_ij^2 / d, summed over the views. Deviations
    and covariances are over N - 1 images, those of all processes. Gradients reach both.
    """
    lack, shared = zip(*map(_lack_and_covariance, (z1, z2)), strict=True)
    return invariance * F.mse_loss(z1, z2) + variance * sum(lack) / 2 + covariance * sum(shared)


class Vicreg(SelfSupervised[VicregParams]):
    """The method around `vicreg_loss`."""

    Params = VicregParams

    def __init__(self, backbone: Backbone, params: VicregParams, num_images: int, chance: Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.encoder = Encoder(
            backbone, mlp([backbone.dim, params.hidden_dim, params.hidden_dim, params.dim], norm=True)
        )

    def loss(self, views: Views) -> Step:
        # Each view has batch-norm statistics of its own.
        (h1, z1), (h2, z2) = self.encoder(views.first), self.encoder(views.second)
        p = self.params
        loss = vicreg_loss(z1, z2, p.invariance, p.variance, p.covariance)
        return Step(loss, {"feature_std": feature_std(z1)}, [h1, h2])


def _lack_and_covariance(z: Float[Tensor, "b d"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """One view's variance term and covariance term, without their weights."""
    n = len(z) * dist.world()
    centred = z - dist.total(z.sum(0)) / n
    c = dist.total(centred.T @ centred) / (n - 1)
    lack = F.relu(1 - (c.diagonal() + EPS).sqrt()).mean()
    return lack, (c.square().sum() - c.diagonal().square().sum()) / len(c)
