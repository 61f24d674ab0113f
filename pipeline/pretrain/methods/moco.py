"""MoCo: tell an image's other view, seen by a teacher, from a queue of the teacher's past outputs.

He et al. 2020, "Momentum contrast" (v1: a linear head, temperature .07), and Chen et al. 2020, "Improved baselines"
(v2: an MLP head, .2).
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.nn.mlp import Encoder
from pipeline.nn.norm import apart
from pipeline.nn.primitives import soft_ce
from pipeline.parallel import dist
from pipeline.pretrain.momentum_contrast import MomentumContrast, MomentumContrastParams


class MocoParams(MomentumContrastParams):
    """The block `pretrain.moco`."""

    bn_groups: int = Field(ge=1)  # parts of a batch that batch norm sees apart


def moco_loss(
    q: Float[Tensor, "b d"], k: Float[Tensor, "b d"], queue: Float[Tensor, "m d"], temperature: float
) -> Float[Tensor, ""]:
    """Cross-entropy of q's own key against the queue (He et al., eq. 1), mean over the batch; all rows unit vectors.

    The batch's other keys are no negatives. No gradient reaches k or the queue. With an empty queue it is 0.
    """
    positive = torch.arange(len(q), device=q.device)
    mask = torch.cat([positive[:, None] != positive, q.new_zeros(len(q), len(queue)).bool()], dim=1)
    return soft_ce(q, torch.cat([k, queue]).detach(), positive, temperature, mask)


def forward_in_groups(
    net: nn.Module, images: Float[Tensor, "b c h w"], groups: int, *, shuffled: bool
) -> Float[Tensor, "b d"]:
    """The network on each of `groups` parts of the batch in turn, so that batch norm sees one part at a time.

    On one device this does what MoCo's shuffled batch norm does across several: with `shuffled`, a batch's parts are
    drawn anew (torch's own chance), so keys and queries do not share their statistics. Where there is one group, and
    batch norm sees each process's images alone, processes exchange the images, as in the paper. Raises ParamsError if
    a group would hold fewer than two images, which have no deviation.
    """
    if groups == 1:
        return _exchanged(net, images) if shuffled and apart(net) else net(images)
    if len(images) < 2 * groups:
        raise ParamsError(
            f"pretrain.moco.bn_groups: expected at most {len(images) // 2}, half of a process's batch, got {groups}"
        )
    order = torch.randperm(len(images)) if shuffled else torch.arange(len(images))
    order = order.to(images.device, non_blocking=True)
    out = torch.cat([net(part) for part in images[order].tensor_split(groups)])
    return out[order.argsort()]


def _exchanged(net: nn.Module, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
    """The network's outputs for these images, each made by a process that is drawn anew; no gradient flows back."""
    everyones = dist.gather(images)
    own = dist.share(len(everyones), "pretrain.batch_size")
    order = torch.randperm(len(everyones)).to(images.device, non_blocking=True)  # the same in all processes
    return dist.gather(net(everyones[order[own]]))[order.argsort()[own]]


class Moco(MomentumContrast[MocoParams]):
    """The method around `moco_loss`."""

    Params = MocoParams

    def features(self, encoder: Encoder, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        shuffled = encoder is self.teacher
        return forward_in_groups(encoder.backbone, images, self.params.bn_groups, shuffled=shuffled)

    def contrast(self, q: Float[Tensor, "b d"], k: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
        return moco_loss(q, k, self.queue.rows, self.params.temperature)
