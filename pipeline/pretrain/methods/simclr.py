"""SimCLR: tell an image's other view from all other views in the batch.

Chen et al. 2020, "A simple framework for contrastive learning of visual representations"; a head of three layers
is that of SimCLRv2 (Chen et al. 2020, "Big self-supervised models are strong semi-supervised learners"). The letters:
z1 and z2 are the unit projections of an image's two views.
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import soft_ce, spread, unit
from pipeline.parallel import dist
from pipeline.pretrain.feed import Views


class SimclrParams(Block):
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
    own = torch.arange(n, device=z1.device)[dist.share(n, "pretrain.batch_size")]
    itself, other = torch.cat([own, own + n]), torch.cat([own + n, own])
    keys = torch.cat([dist.gather(z1), dist.gather(z2)])
    mask = itself[:, None] == torch.arange(2 * n, device=z1.device)
    return soft_ce(torch.cat([z1, z2]), keys, other, temperature, mask)


class Simclr(nn.Module):
    """The method around `simclr_loss`.

    Departure: the head has batch norm in its hidden layers; the paper's has none, and its code has it in the last too.
    """

    Params = SimclrParams

    def __init__(
        self,
        backbone: Backbone,
        params: SimclrParams,
        num_images: int,
        chance: torch.Generator,
    ) -> None:
        super().__init__()
        self.params = params
        dims = [backbone.dim, *[params.hidden_dim] * (params.head_layers - 1), params.dim]
        self.net = Encoder(backbone, mlp(dims, norm=True))

    def loss(self, views: Views) -> Step:
        """The loss of two views of the same images."""
        h, z = self.net(torch.cat([views.first, views.second]))  # one pass: batch norm sees both views
        z1, z2 = unit(z).chunk(2)
        return Step(simclr_loss(z1, z2, self.params.temperature), {"feature_std": spread(z1)}, h.chunk(2))

    def after_step(self, step: int, num_steps: int) -> None:
        """Nothing: all that there is was learnt."""
