"""CMSF-self: MSF with more neighbours, which were near an image when it was last seen and may have moved away since.

Navaneet et al. 2022, "Constrained mean shift using distant yet related neighbors for representation learning", the
self-supervised variant. The letters: u and v as in MSF; w is an image's earlier embedding: what u was for another view
of it an epoch ago. The memory M of u's has beside it, row by row, the w's of the same images, M'.
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from pipeline.nn.backbones import Backbone
from pipeline.nn.memory import Bank, Queue, nearest_rows
from pipeline.nn.primitives import in_float32, regress
from pipeline.pretrain.feed import Views
from pipeline.pretrain.mean_shift import MeanShift, MeanShiftParams


class CmsfParams(MeanShiftParams):
    """The block `pretrain.cmsf`."""

    constrained: int = Field(ge=0)  # k', rows of M' that the second set of neighbours is chosen from; 0: MSF


@in_float32
def cmsf_loss(
    v: Float[Tensor, "b d"],
    u: Float[Tensor, "b d"],
    w: Float[Tensor, "b d"],
    memory: Float[Tensor, "m d"],
    earlier: Float[Tensor, "m d"],
    k: int,
    constrained: int,
) -> Float[Tensor, ""]:
    """The mean of MSF's loss and of the same one on constrained neighbours, mean over the batch; in [0, 4].

    `memory` is M and `earlier` M'. The constraint: of the `constrained` rows nearest to w in M', the k whose u's in M
    are nearest to u (all, if there are no more). The two means weigh a half each, as in the authors' code, so a row in
    both sets counts twice. A row of zeros in w or M' says that there is no earlier embedding: such a row of M' is never
    found, and an image that finds none has MSF's loss. No gradient reaches anything but v.
    """
    known = w.any(dim=1)[:, None] & earlier.any(dim=1)
    related = (w @ earlier.T).masked_fill(~known, -torch.inf).topk(constrained, dim=1)
    closeness = torch.einsum("bd,bkd->bk", u, memory[related.indices]).masked_fill(related.values.isinf(), -torch.inf)
    chosen = closeness.topk(min(k, constrained), dim=1)
    valid = chosen.values.isfinite().to(v.dtype)
    # Half of the weight for the second set where it is not empty.
    second = valid / valid.sum(dim=1, keepdim=True).clamp(min=1) / 2
    first = (1 - second.sum(dim=1, keepdim=True)).expand(-1, k) / k
    rows = torch.cat([nearest_rows(u, memory, k), related.indices.gather(1, chosen.indices)], dim=1)
    return regress(v, memory[rows], torch.cat([first, second], dim=1))


class Cmsf(MeanShift[CmsfParams]):
    """The method around `cmsf_loss`; a bank of all training images remembers their last embeddings.

    Departure: the first epoch is MSF's, where in the authors' code random vectors stand for the earlier embeddings.
    Where two epochs meet, the queue may hold an image twice; its older vector then counts as a neighbour of it.
    """

    Params = CmsfParams
    block = "pretrain.cmsf"

    def __init__(self, backbone: Backbone, params: CmsfParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.queue.require_rows(params.constrained, f"{self.block}.constrained")
        self.bank = Bank(num_images, params.dim, chance)
        self.earlier = Queue(len(self.queue), params.dim, chance)
        self.earlier.rows.zero_()
        self._past: list[tuple[Tensor, Tensor]] = []  # images and their w, for the second queue after the step

    def pull(self, v: Float[Tensor, "b d"], u: Float[Tensor, "b d"], views: Views) -> Float[Tensor, ""]:
        w = self.bank.rows[views.rows] * self.bank.seen[views.rows, None]
        self._past = [(views.rows, w)]
        return cmsf_loss(
            v,
            u,
            w,
            self.queue.after_push(u),
            self.earlier.after_push(w),
            self.params.neighbours,
            self.params.constrained,
        )

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """The second queue moves with the first, and the bank takes the embeddings."""
        for u, (rows, w) in zip(self._embeddings, self._past, strict=True):
            self.earlier.push(w)
            self.bank.update(rows, u, momentum=0.0)
        self._past = []
        super().after_step(step, num_steps)
