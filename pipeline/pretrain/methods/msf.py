"""MSF: pull an image to the neighbours of its other view, which are found in a queue of a slow copy's past outputs.

Koohpayegani et al. 2021, "Mean shift for self-supervised learning". The letters: u is the unit embedding of the second
view, the weak one, by the slow copy; v is the prediction of it from the first view.
"""

import copy

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn import ema, schedule
from pipeline.nn.backbones import Backbone
from pipeline.nn.memory import Queue, enqueued, nearest, refuse_more
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import regress, spread, unit
from pipeline.pretrain.feed import Views


class MsfParams(Block):
    """The block `pretrain.msf`."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)  # of the projector and of the predictor
    queue_size: int = Field(ge=1)  # never more than there are images
    neighbours: int = Field(ge=1)  # k, the image's own other view among them
    keep_start: float = Field(ge=0, lt=1)
    keep_end: float = Field(ge=0, le=1)


def msf_loss(
    v: Float[Tensor, "b d"], u: Float[Tensor, "b d"], memory: Float[Tensor, "m d"], k: int
) -> Float[Tensor, ""]:
    """Squared distance of v's unit vector to the k rows of the memory nearest to u (section 3), mean over k and batch.

    In [0, 4]. The memory holds unit vectors, u among them: with k = 1 it is one direction of BYOL's loss, unless the
    memory has u twice. No gradient reaches u or the memory.
    """
    return regress(v, memory[nearest(u, memory, k)])


class Msf(nn.Module):
    """The method around `msf_loss`.

    As in the paper the batch goes into the queue first, so an image's first neighbour is its own other view, and other
    images of the batch can be neighbours. Departure: the slow copy's batch norm sees the batch unshuffled, for one
    device has no other order.
    """

    Params: type[MsfParams] = MsfParams
    block = "pretrain.msf"

    def __init__(self, backbone: Backbone, params: MsfParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__()
        self.params = params
        dims = [backbone.dim, params.hidden_dim, params.dim]
        self.online = Encoder(backbone, mlp(dims, norm=True))
        self.predictor = mlp([params.dim, *dims[1:]], norm=True)
        self.slow = copy.deepcopy(self.online).requires_grad_(requires_grad=False)
        # A longer queue would hold an image's own last embedding as a neighbour.
        self.queue = Queue(min(params.queue_size, num_images), params.dim, chance)
        refuse_more(f"{self.block}.neighbours", params.neighbours, self.queue)
        self._waiting: list[Tensor] = []

    def loss(self, views: Views) -> Step:
        """The loss of the first view against the second, whose embeddings wait for `after_step`."""
        with torch.no_grad():
            slow, target = self.slow(views.second)
        u = unit(target)
        self._waiting = [u]
        h, z = self.online(views.first)
        return Step(self.pull(self.predictor(z), u, views), {"feature_std": spread(z)}, [h, slow])

    def pull(self, v: Float[Tensor, "b d"], u: Float[Tensor, "b d"], views: Views) -> Float[Tensor, ""]:
        """The loss, with the queue as it will be after this step."""
        return msf_loss(v, u, enqueued(self.queue, u), self.params.neighbours)

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the slow copy, then puts the embeddings in the queue in place of its oldest."""
        keep = schedule.cosine(self.params.keep_start, self.params.keep_end, step / num_steps)
        ema.update(self.slow, self.online, keep, buffers=False)
        for u in self._waiting:
            self.queue.push(u)
        self._waiting = []
