"""MoCo: tell an image's other view, seen by a teacher, from a queue of the teacher's past outputs.

He et al. 2020, "Momentum contrast" (v1: a linear head, temperature .07), and Chen et al. 2020, "Improved baselines"
(v2: an MLP head, .2).
"""

from jaxtyping import Float, Int64
from torch import Tensor

from pipeline.pretrain.momentum_contrast import MomentumContrast, MomentumContrastParams, moco_loss


class Moco(MomentumContrast[MomentumContrastParams]):
    """The method around `moco_loss`."""

    Params = MomentumContrastParams
    block = "pretrain.moco"

    def contrast(
        self, q: Float[Tensor, "b d"], k: Float[Tensor, "b d"], _images: Int64[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        return moco_loss(q, k, self.queue.rows, self.params.temperature)
