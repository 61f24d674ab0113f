"""Small networks on top of a backbone."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.errors import ParamsError


class UnitMlp(nn.Module):
    """Linear, ReLU, Linear, then unit length: the projection head of MoCo v2, without batch norm."""

    def __init__(self, dim_in: int, hidden_dim: int, dim_out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim_in, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, dim_out))

    def forward(self, x: Float[Tensor, "b d_in"]) -> Float[Tensor, "b d_out"]:
        """Unit vectors, float32 whatever the precision of the layers."""
        return F.normalize(self.layers(x).float(), dim=1)


def in_groups(net: nn.Module, images: Float[Tensor, "b c h w"], groups: int, shuffled: bool) -> Float[Tensor, "b d"]:
    """The network on each of `groups` parts of the batch in turn, so that batch norm sees one part at a time.

    On one device this does what MoCo's shuffled batch norm does across several: with `shuffled`, a batch's parts are
    drawn anew (torch's own chance), so keys and queries do not share their statistics. Raises ParamsError if a group
    would hold fewer than two images, which have no deviation.
    """
    if groups == 1:
        return net(images)
    if len(images) < 2 * groups:
        raise ParamsError(f"bn_groups: expected at most {len(images) // 2}, half of a batch, got {groups}")
    order = torch.randperm(len(images)) if shuffled else torch.arange(len(images))
    order = order.to(images.device)
    out = torch.cat([net(part) for part in images[order].tensor_split(groups)])
    return out[order.argsort()]
