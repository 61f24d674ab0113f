"""SimCLR: tell an image's other view from all other views in the batch.

Chen et al. 2020, "A simple framework for contrastive learning of visual representations"; a head of three layers
is that of SimCLRv2 (Chen et al. 2020, "Big self-supervised models are strong semi-supervised learners").
"""

import torch
from pydantic import Field

from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.contrast import nt_xent
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import feature_std, unit
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised


class SimclrParams(MethodParams):
    """The block `pretrain.simclr`."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)
    head_layers: int = Field(ge=1)
    temperature: float = Field(gt=0)


class Simclr(SelfSupervised[SimclrParams]):
    """NT-Xent of two views (`nt_xent`).

    Departure: the head has batch norm in its hidden layers; the paper's has none, and its code has it in the last too.
    """

    Params = SimclrParams

    def __init__(self, backbone: Backbone, params: SimclrParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        dims = [backbone.dim, *[params.hidden_dim] * (params.head_layers - 1), params.dim]
        self.encoder = Encoder(backbone, mlp(dims, norm=True))

    def loss(self, views: Views) -> Step:
        h, z = self.encoder(torch.cat([views.first, views.second]))  # one pass: batch norm sees both views
        z1, z2 = unit(z).chunk(2)
        return Step(nt_xent(z1, z2, self.params.temperature), {"feature_std": feature_std(z1)}, h.chunk(2))
