"""MoCo: tell an image's other view, seen by a teacher, from a queue of the teacher's past outputs.

He et al. 2020, "Momentum contrast" (v1: a linear head, temperature .07), and Chen et al. 2020, "Improved baselines"
(v2: an MLP head, .2).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.nn.primitives import soft_ce
from pipeline.pretrain.momentum_contrast import MomentumContrast, MomentumContrastParams


def moco_loss(
    q: Float[Tensor, "b d"], k: Float[Tensor, "b d"], queue: Float[Tensor, "m d"], temperature: float
) -> Float[Tensor, ""]:
    """Cross-entropy of q's own key against the queue (He et al., eq. 1), mean over the batch; all rows unit vectors.

    The batch's other keys are no negatives. No gradient reaches k or the queue. With an empty queue it is 0.
    """
    positive = torch.arange(len(q), device=q.device)
    mask = torch.cat([positive[:, None] != positive, q.new_zeros(len(q), len(queue)).bool()], dim=1)
    return soft_ce(q, torch.cat([k, queue]).detach(), positive, temperature, mask)


class Moco(MomentumContrast[MomentumContrastParams]):
    """The method around `moco_loss`."""

    Params = MomentumContrastParams
    block = "pretrain.moco"

    def contrast(self, q: Float[Tensor, "b d"], k: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
        return moco_loss(q, k, self.queue.rows, self.params.temperature)
