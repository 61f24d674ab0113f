"""SimSiam: predict an image's other view with a stopped gradient in place of a teacher.

Chen and He 2021, "Exploring simple siamese representation learning". The letters: z is a view's projection, p the
prediction made from it.
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import feature_std, regress
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised


class SimsiamParams(MethodParams):
    """The block `pretrain.simsiam`."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)  # of the projector
    projector_layers: int = Field(ge=1)  # 3 on ImageNet, 2 on CIFAR-10
    predictor_dim: int = Field(ge=1)  # of the predictor's hidden layer


def simsiam_loss(
    p1: Float[Tensor, "b d"], p2: Float[Tensor, "b d"], z1: Float[Tensor, "b d"], z2: Float[Tensor, "b d"]
) -> Float[Tensor, ""]:
    """1 - cos(p1, z2) / 2 - cos(p2, z1) / 2, mean over the batch: the paper's (eq. 4) plus 1, with the same gradient.

    From 0, where each prediction points where its target does, to 2. No gradient reaches z1 and z2.
    """
    return (regress(p1, z2[:, None]) + regress(p2, z1[:, None])) / 4


class Simsiam(SelfSupervised[SimsiamParams]):
    """The method around `simsiam_loss`."""

    Params = SimsiamParams

    def __init__(self, backbone: Backbone, params: SimsiamParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        dims = [backbone.dim, *[params.hidden_dim] * (params.projector_layers - 1), params.dim]
        self.encoder = Encoder(backbone, mlp(dims, norm=True, last_norm=True, affine=False))
        self.predictor = mlp([params.dim, params.predictor_dim, params.dim], norm=True)
        self.constant_rate = (self.predictor,)  # it must keep up with projections that go on changing (section 4.2)

    def loss(self, views: Views) -> Step:
        (h1, z1), (h2, z2) = self.encoder(views.first), self.encoder(views.second)
        loss = simsiam_loss(self.predictor(z1), self.predictor(z2), z1, z2)
        return Step(loss, {"feature_std": feature_std(z1)}, [h1, h2])
