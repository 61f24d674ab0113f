"""ASCL: MoCo in which rows of the queue that the teacher takes for the same thing are positives too, by their share.

Feng and Patras 2022, "Adaptive soft contrastive learning". The letters are MoCo's; K is the number of the
queue's rows.
"""

import math

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.nn.primitives import in_float32, soft_ce
from pipeline.pretrain.momentum_contrast import MomentumContrast, MomentumContrastParams


class AsclParams(MomentumContrastParams):
    """The block `pretrain.ascl`."""

    queue_size: int = Field(ge=2)  # one row has no entropy
    target_temperature: float = Field(gt=0)  # of the teacher's shares; below `temperature`, they are sharper
    neighbours: float = Field(ge=0)  # n: weight of the queue's rows where the teacher is sure; 0: MoCo


@in_float32
def ascl_loss(
    q: Float[Tensor, "b d"],
    k: Float[Tensor, "b d"],
    queue: Float[Tensor, "m d"],
    temperature: float,
    target_temperature: float,
    neighbours: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of q's own key and the queue against soft targets, mean over the batch; all rows unit vectors.

    With p = softmax(k . queue / target_temperature) and the confidence c = 1 - entropy(p) / ln K, in [0, 1], weights
    are 1 for the own key and min(1, neighbours * c * p) for a row, divided by their sum. No gradient reaches k or the
    queue, which must have two rows.
    """
    k, queue = k.detach(), queue.detach()
    p = (k @ queue.T / target_temperature).softmax(dim=1)
    confidence = 1 - torch.special.entr(p).sum(dim=1, keepdim=True) / math.log(len(queue))
    own = torch.eye(len(q), dtype=p.dtype, device=p.device)
    weights = torch.cat([own, (neighbours * confidence * p).clamp(0, 1)], dim=1)
    mask = torch.cat([own == 0, torch.zeros_like(p).bool()], dim=1)
    return soft_ce(q, torch.cat([k, queue]), weights / weights.sum(dim=1, keepdim=True), temperature, mask)


class Ascl(MomentumContrast[AsclParams]):
    """The method around `ascl_loss`."""

    Params = AsclParams
    block = "pretrain.ascl"

    def contrast(
        self, q: Float[Tensor, "b d"], k: Float[Tensor, "b d"], _images: Int64[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        p = self.params
        return ascl_loss(q, k, self.queue.rows, p.temperature, p.target_temperature, p.neighbours)
