"""Small networks on top of a backbone."""

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn


def mlp(
    dims: Sequence[int],
    *,
    norm: bool,
    last_norm: bool = False,
    affine: bool = True,
    last_bias: bool = True,
    activation: type[nn.Module] = nn.ReLU,
) -> nn.Sequential:
    """Linear layers from dims[0] to dims[-1] with an activation between them: one layer if there are two dims.

    `norm` puts batch norm before each activation, `last_norm` one at the end, there with scale and shift if `affine`.
    A layer that a norm follows has no bias, for the norm would take it away; the last has one if `last_bias`.
    """
    layers: list[nn.Module] = []
    for i, (d_in, d_out) in enumerate(pairwise(dims)):
        last = i == len(dims) - 2
        normed = last_norm if last else norm
        layers.append(nn.Linear(d_in, d_out, bias=not normed and (last_bias or not last)))
        if normed:
            layers.append(nn.BatchNorm1d(d_out, affine=affine or not last))
        if not last:
            layers.append(activation())
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """A backbone with a projection head on top."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b f"], Float[Tensor, "b d"]]:
        """Features of the backbone, and their projections."""
        features = self.backbone(images)
        return features, self.head(features)
