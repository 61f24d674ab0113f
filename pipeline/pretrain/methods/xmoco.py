"""XMoCo: MoCo with symmetric cross similarities, and even similarities to the queue.

After "Extending momentum contrast with cross similarity consistency regularization", 2022 (title from memory). We
found neither code nor figures: the two terms are our reading of its abstract. The letters are MoCo's.
"""

import math

from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.nn.primitives import in_float32
from pipeline.parallel import dist
from pipeline.pretrain.momentum_contrast import MomentumContrast, MomentumContrastParams, moco_loss


class XmocoParams(MomentumContrastParams):
    """The block `pretrain.xmoco`."""

    queue_size: int = Field(ge=2)  # one row is always even
    consistency: float = Field(ge=0)  # weight of `crossed`; with 0 for both it is MoCo
    evenness: float = Field(ge=0)  # weight of `uneven`


@in_float32
def crossed(q: Float[Tensor, "b d"], k: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Mean over i != j of (q_i . k_j - q_j . k_i)^2, in the batch of all processes; 0 where q = k, or of one image.

    No gradient reaches k.
    """
    cos = dist.gather(q) @ dist.gather(k.detach()).T
    return (cos - cos.T).square().sum() / max(1, len(cos) * (len(cos) - 1))


@in_float32
def uneven(q: Float[Tensor, "b d"], queue: Float[Tensor, "m d"], temperature: float) -> Float[Tensor, ""]:
    """KL(uniform | softmax(q . queue / T)), mean over the batch; at least 0, which is where all cosines are equal.

    No gradient reaches the queue.
    """
    log_p = (q @ queue.detach().T / temperature).log_softmax(dim=1)
    return -log_p.mean() - math.log(len(queue))


class Xmoco(MomentumContrast[XmocoParams]):
    """The method around `moco_loss`, `crossed` and `uneven`."""

    Params = XmocoParams
    block = "pretrain.xmoco"

    def contrast(
        self, q: Float[Tensor, "b d"], k: Float[Tensor, "b d"], _images: Int64[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        p, loss = self.params, moco_loss(q, k, self.queue.rows, self.params.temperature)
        if p.consistency > 0:
            loss = loss + p.consistency * crossed(q, k)
        if p.evenness > 0:
            loss = loss + p.evenness * uneven(q, self.queue.rows, p.temperature)
        return loss
