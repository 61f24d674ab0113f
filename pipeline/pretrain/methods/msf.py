"""MSF: pull an image to the neighbours of its other view, which are found in a queue of a teacher's past outputs.

Koohpayegani et al. 2021, "Mean shift for self-supervised learning". The letters: u is the teacher's unit embedding of
the second view, the weak one; v is the student's prediction of it from the first view.
"""

from jaxtyping import Float
from torch import Tensor

from pipeline.nn.memory import nearest_rows
from pipeline.nn.primitives import regress
from pipeline.pretrain.feed import Views
from pipeline.pretrain.mean_shift import MeanShift, MeanShiftParams


def msf_loss(
    v: Float[Tensor, "b d"], u: Float[Tensor, "b d"], memory: Float[Tensor, "m d"], k: int
) -> Float[Tensor, ""]:
    """Squared distance of v's unit vector to the k rows of the memory nearest to u (section 3), mean over k and batch.

    In [0, 4]. The memory holds unit vectors, u among them: with k = 1 it is one direction of BYOL's loss, unless the
    memory has u twice. No gradient reaches u or the memory.
    """
    return regress(v, memory[nearest_rows(u, memory, k)])


class Msf(MeanShift[MeanShiftParams]):
    """The method around `msf_loss`.

    Departure: the teacher's batch norm sees the batch unshuffled, for one device has no other order.
    """

    Params = MeanShiftParams
    block = "pretrain.msf"

    def pull(self, v: Float[Tensor, "b d"], u: Float[Tensor, "b d"], _: Views) -> Float[Tensor, ""]:
        return msf_loss(v, u, self.queue.after_push(u), self.params.neighbours)
