"""Small networks on top of a backbone."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.nn.backbones import Backbone


def mlp(
    dims: Sequence[int], *, norm: bool, last_norm: bool = False, affine: bool = True, last_bias: bool = True
) -> nn.Sequential:
    """Linear layers from dims[0] to dims[-1] with ReLU between them: one layer if there are two dims.

    `norm` puts batch norm before each ReLU, `last_norm` one at the end, there with scale and shift if `affine`. A layer
    that a norm follows has no bias, for the norm would take it away; the last has one if `last_bias`.
    """
    layers: list[nn.Module] = []
    for i, (d_in, d_out) in enumerate(pairwise(dims)):
        last = i == len(dims) - 2
        normed = last_norm if last else norm
        layers.append(nn.Linear(d_in, d_out, bias=not normed and (last_bias or not last)))
        if normed:
            layers.append(nn.BatchNorm1d(d_out, affine=affine or not last))
        if not last:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """A backbone with a projection head on top."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b f"], Float[Tensor, "b d"]]:
        """Features of the backbone, and their projections."""
        features = self.backbone(images)
        return features, self.head(features)


def in_groups(net: nn.Module, images: Float[Tensor, "b c h w"], groups: int, shuffled: bool) -> Float[Tensor, "b d"]:
    """The network on each of `groups` parts of the batch in turn, so that batch norm sees one part at a time.

    On one device this does what MoCo's shuffled batch norm does across several: with `shuffled`, a batch's parts are
    drawn anew (torch's own chance), so keys and queries do not share their statistics. Raises ParamsError if a group
    would hold fewer than two images, which have no deviation.
    """
    if groups == 1:
        return net(images)
    if len(images) < 2 * groups:
        raise ParamsError(
            f"pretrain.moco.bn_groups: expected at most {len(images) // 2}, half of a process's batch, got {groups}"
        )
    order = torch.randperm(len(images)) if shuffled else torch.arange(len(images))
    order = order.to(images.device)
    out = torch.cat([net(part) for part in images[order].tensor_split(groups)])
    return out[order.argsort()]
