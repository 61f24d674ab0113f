"""MoCHi: MoCo with harder negatives, made by mixing the queue's rows that are nearest to the query.

Kalantidis et al. 2020, "Hard negative mixing for contrastive learning". The letters are MoCo's; n_1, n_2, ... are the
queue's rows, the nearest to q first.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Generator, Tensor

from pipeline.nn.backbones import Backbone
from pipeline.nn.primitives import in_float32
from pipeline.pretrain.momentum_contrast import MomentumContrast, MomentumContrastParams, moco_loss


class MochiParams(MomentumContrastParams):
    """The block `pretrain.mochi`."""

    hardest: int = Field(ge=1)  # N, rows of the queue that mixes are made of; at most as many as it has
    mixes: int = Field(ge=0)  # s, of two of those rows
    query_mixes: int = Field(ge=0)  # s', of the query and one of those rows
    start: float = Field(ge=0, le=1)  # share of the steps before the first mixes: MoCo


class Mixes(NamedTuple):
    """What is mixed, by rank among the hardest rows, which each query has of its own."""

    first: Int64[Tensor, " s"]
    second: Int64[Tensor, " s"]
    share: Float[Tensor, " s"]  # of the first
    beside: Int64[Tensor, " t"]  # what is mixed with the query
    query_share: Float[Tensor, " t"]  # of the query

    @classmethod
    def drawn(cls, hardest: int, mixes: int, query_mixes: int, device: torch.device) -> "Mixes":
        """All ranks alike; shares from [0, 1), those of the query from [0, 0.5). By torch's own chance on the CPU."""
        ranks, beside = torch.randint(hardest, (2, mixes)), torch.randint(hardest, (query_mixes,))
        share, query_share = torch.rand(mixes), torch.rand(query_mixes) / 2
        first, second = ranks
        return cls(*(x.to(device, non_blocking=True) for x in (first, second, share, beside, query_share)))


@in_float32
def mochi_loss(
    q: Float[Tensor, "b d"],
    k: Float[Tensor, "b d"],
    queue: Float[Tensor, "m d"],
    temperature: float,
    hardest: int,
    mixes: Mixes,
) -> Float[Tensor, ""]:
    """MoCo's cross-entropy with the mixes as further negatives, mean over the batch; all rows unit vectors.

    The mixes are unit(share n_i + (1 - share) n_j) and unit(share q + (1 - share) n_j). No gradient reaches them, k or
    the queue. Never below MoCo's loss, which it is without mixes.
    """
    k, queue = k.detach(), queue.detach()
    cos = q @ queue.T
    near = cos.detach().topk(hardest, dim=1).indices
    i, j, beside = near[:, mixes.first], near[:, mixes.second], near[:, mixes.beside]
    a, b = mixes.share.to(q.dtype), mixes.query_share.to(q.dtype)
    # The cosine of a mix is that of its parts over its length, so no mix is made, and no row is looked up for q's own.
    between = torch.einsum("bsd,bsd->bs", queue[i], queue[j])
    of_rows = (a * cos.gather(1, i) + (1 - a) * cos.gather(1, j)) / _length(a, between)
    to_row = cos.gather(1, beside)
    to_itself = (q * q.detach()).sum(dim=1, keepdim=True)
    of_query = (b * to_itself + (1 - b) * to_row) / _length(b, to_row.detach())
    logits = torch.cat([(q * k).sum(dim=1, keepdim=True), cos, of_rows, of_query], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device))


def _length(share: Float[Tensor, " s"], cos: Float[Tensor, "b s"]) -> Float[Tensor, "b s"]:
    """Of share x + (1 - share) y, where x and y are unit vectors at this cosine."""
    rest = 1 - share
    return (share**2 + rest**2 + 2 * share * rest * cos).clamp(min=1e-12).sqrt()


class Mochi(MomentumContrast[MochiParams]):
    """The method around `mochi_loss`.

    Departure: one draw of ranks and shares serves all queries of a step, where the paper draws for each.
    """

    Params = MochiParams
    block = "pretrain.mochi"

    def __init__(self, backbone: Backbone, params: MochiParams, num_images: int, chance: Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.queue.require_rows(params.hardest, f"{self.block}.hardest")

    def contrast(
        self, q: Float[Tensor, "b d"], k: Float[Tensor, "b d"], _images: Int64[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        p = self.params
        if self.progress < p.start or p.mixes + p.query_mixes == 0:
            return moco_loss(q, k, self.queue.rows, p.temperature)
        mixes = Mixes.drawn(p.hardest, p.mixes, p.query_mixes, q.device)
        return mochi_loss(q, k, self.queue.rows, p.temperature, p.hardest, mixes)
