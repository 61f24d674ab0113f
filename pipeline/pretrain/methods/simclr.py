"""SimCLR: tell an image's other view from all other views in the batch.

Chen et al. 2020, "A simple framework for contrastive learning of visual representations"; a head of three layers
is that of SimCLRv2 (Chen et al. 2020, "Big self-supervised models are strong semi-supervised learners"). The letters:
z1 and z2 are the unit projections of an image's two views.
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import feature_std, soft_ce, unit
from pipeline.parallel import dist
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised


class SimclrParams(MethodParams):
    """The block `pretrain.simclr`."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)
    head_layers: int = Field(ge=1)
    temperature: float = Field(gt=0)


def simclr_loss(z1: Float[Tensor, "b d"], z2: Float[Tensor, "b d"], temperature: float) -> Float[Tensor, ""]:
    """NT-Xent (eq. 1): each view's cross-entropy for the image's other view among all views but itself.

    Mean over the 2 b views of this process; the keys are the 2 N views of all, with gradient. All rows are unit
    vectors. With all of them equal it is log(2 N - 1).
    """
    n = len(z1) * dist.world()
    first = torch.arange(n, device=z1.device)[dist.share(n, "pretrain.batch_size")]  # key numbers of this process
    itself, positive = torch.cat([first, first + n]), torch.cat([first + n, first])
    keys = torch.cat([dist.gather(z1), dist.gather(z2)])
    mask = itself[:, None] == torch.arange(2 * n, device=z1.device)
    return soft_ce(torch.cat([z1, z2]), keys, positive, temperature, mask)


class Simclr(SelfSupervised[SimclrParams]):
    """The method around `simclr_loss`.

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
        return Step(simclr_loss(z1, z2, self.params.temperature), {"feature_std": feature_std(z1)}, h.chunk(2))
