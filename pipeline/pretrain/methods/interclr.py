"""InterCLR: MoCo beside a term that tells an image of the same cluster from near ones of other clusters.

Xie et al. 2022, "Delving into inter-image invariance for unsupervised visual representations". The letters are MoCo's.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.nn.primitives import in_float32
from pipeline.pretrain.clustered_contrast import ClusteredContrast, ClusteredContrastParams
from pipeline.pretrain.momentum_contrast import moco_loss


class InterclrParams(ClusteredContrastParams):
    """The block `pretrain.interclr`."""

    inter_weight: float = Field(ge=0, le=1)  # of the term between images; MoCo's loss has the rest, 0: MoCo
    margin: float = Field(ge=0)  # added to the cosine of the positive: the larger, the weaker the pull
    candidates: int = Field(ge=1)  # rows nearest to the query that negatives are drawn from; cut to the images
    negatives: int = Field(ge=1)  # of them, so many; all, where there are fewer


class Drawn(NamedTuple):
    """The chance of a step, for all queries alike."""

    order: Float[Tensor, " n"]  # of the bank's rows: the positive is the last of the query's cluster
    ranks: Int64[Tensor, " s"]  # of the negatives among the candidates

    @classmethod
    def of(cls, images: int, candidates: int, negatives: int, device: torch.device) -> "Drawn":
        """By torch's own chance on the CPU; no two ranks are equal."""
        order, ranks = torch.rand(images), torch.randperm(candidates)[:negatives]
        return cls(order.to(device, non_blocking=True), ranks.to(device, non_blocking=True))


@in_float32
def inter_loss(
    q: Float[Tensor, "b d"],
    bank: Float[Tensor, "n d"],
    of_queries: Int64[Tensor, " b"],
    of_rows: Int64[Tensor, " n"],
    drawn: Drawn,
    temperature: float,
    margin: float,
    candidates: int,
) -> Float[Tensor, ""]:
    """Cross-entropy of a row of the query's cluster against near rows of others, mean over the batch; all unit vectors.

    `of_queries` and `of_rows` are clusters; each that a query is in has a row. The
    positive is a drawn one of these, which may be the query's own. Candidates are the rows of other
    clusters nearest to the query: where there are fewer than asked for, those that are missing do not exist. No
    gradient reaches the bank.
    """
    cos = q @ bank.detach().T
    same = of_queries[:, None] == of_rows
    positive = torch.where(same, drawn.order, -1).argmax(dim=1, keepdim=True)
    near = cos.detach().masked_fill(same, -torch.inf).topk(candidates, dim=1).indices[:, drawn.ranks]
    others = cos.gather(1, near).masked_fill(same.gather(1, near), -torch.inf)
    logits = torch.cat([cos.gather(1, positive) + margin, others], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device))


class Interclr(ClusteredContrast[InterclrParams]):
    """The method around `moco_loss` and `inter_loss`; in the first epoch, which has no clusters, it is MoCo.

    Departures: clusters are those of a bank, found after each epoch (`Clusters`), where the authors move labels at each
    step and split small clusters; one draw of positives and of negatives' ranks serves all queries of a step.
    """

    Params = InterclrParams
    block = "pretrain.interclr"

    def contrast(
        self, q: Float[Tensor, "b d"], k: Float[Tensor, "b d"], images: Int64[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        p, labels = self.params, self.clusters.labels[0]
        own = moco_loss(q, k, self.queue.rows, p.temperature)
        if p.inter_weight == 0:
            return own
        candidates = min(p.candidates, len(labels))
        drawn = Drawn.of(len(labels), candidates, p.negatives, q.device)
        inter = inter_loss(
            q, self.clusters.bank.rows, labels[images], labels, drawn, p.temperature, p.margin, candidates
        )
        return torch.lerp(own, inter, p.inter_weight * (labels[0] >= 0).to(own.dtype))
