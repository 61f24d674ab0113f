"""SwAV: tell from one view of an image which prototypes its other view was assigned to, all used equally.

Caron et al. 2020, "Unsupervised learning of visual features by contrasting cluster assignments". The letters: z are
unit projections of v views, the two large ones first; q are the codes of those two, their assignments to k prototypes.
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.memory import Queue
from pipeline.nn.mlp import mlp
from pipeline.nn.primitives import feature_std, in_float32, unit
from pipeline.parallel import dist
from pipeline.pretrain.feed import Views
from pipeline.pretrain.prototypes import PrototypeMethod, PrototypeParams, all_features, swapped_loss


class SwavParams(PrototypeParams):
    """The block `pretrain.swav`."""

    epsilon: float = Field(gt=0)  # of Sinkhorn: the smaller, the harder the codes
    queue_size: int = Field(ge=0)  # projections of each large view, never more than there are images; 0: none
    queue_start: float = Field(ge=0, le=1)  # share of the steps after which the queue is used, once it is full


@in_float32
@torch.no_grad()
def sinkhorn(scores: Float[Tensor, "n k"], epsilon: float, iterations: int) -> Float[Tensor, "n k"]:
    """Soft assignments: exp(scores / epsilon), scaled in turn to the sum n / k a prototype and the sum 1 a sample.

    Cuturi 2013, "Sinkhorn distances". The samples come last: their rows sum to 1 exactly, the columns to n / k only in
    the limit. No gradient passes. Any finite scores / epsilon will do.
    """
    # The first round in logarithms. After it no sum can vanish any more: a row sums to 1 and holds an entry of at least
    # 1 / k, and a column's sum is at least 1 / k too, since what a row was divided by is at most k.
    codes = (scores / epsilon).log_softmax(dim=0).softmax(dim=1)
    for _ in range(iterations - 1):
        codes /= codes.sum(dim=0)
        codes /= codes.sum(dim=1, keepdim=True)
    return codes


@in_float32
@torch.no_grad()
def swav_codes(
    z: Float[Tensor, "m d"], prototypes: Float[Tensor, "k d"], epsilon: float, iterations: int
) -> Float[Tensor, "m k"]:
    """Codes of all rows at once (eq. 3 to 5); each row sums to 1. No gradient passes."""
    return sinkhorn(z @ prototypes.T, epsilon, iterations)


class Swav(PrototypeMethod[SwavParams]):
    """The method around `swapped_loss` and `swav_codes`.

    The authors' code brings the prototypes back to length 1 before each forward pass. Departure: the queue also fills
    before it is used.
    """

    Params = SwavParams
    head_at = "head"

    def __init__(self, backbone: Backbone, params: SwavParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.backbone = backbone
        self.head = mlp([backbone.dim, params.hidden_dim, params.dim], norm=True)
        size = min(params.queue_size, num_images)
        self.queue = Queue(size, 2 * params.dim, chance) if size else None  # both large views' side by side
        self._large: list[Tensor] = []  # projections of the two large views, for the queue after the step

    def loss(self, views: Views) -> Step:
        h = all_features(self.backbone, views)
        z = unit(self.head(h)).unflatten(0, (-1, len(views.first)))  # as in the authors' code, of all views at once
        self._large = list(z[:2].detach())
        loss = swapped_loss(z, self._codes(), self.learnt_prototypes(), self.params.temperature)
        return Step(loss, {"feature_std": feature_std(z[0])}, list(h[: 2 * len(views.first)].chunk(2)))

    @torch.no_grad()
    def _codes(self) -> Float[Tensor, "2 b k"]:
        """Codes of this rank's rows, balanced over those of all ranks and the queue.

        Each rank solves the whole problem, so the queue, which all ranks have, counts once.
        """
        _, part = dist.global_batch(len(self._large[0]))
        rows = dist.gather(torch.cat(self._large, dim=1))
        if self.queue is not None and self.progress >= self.params.queue_start and self.queue.full:
            rows = torch.cat([rows, self.queue.rows])
        epsilon, iterations = self.params.epsilon, self.params.iterations
        return torch.stack([swav_codes(z, self.prototypes, epsilon, iterations)[part] for z in rows.chunk(2, dim=1)])

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Beside the prototypes, puts the projections in the queue."""
        super().after_step(step, num_steps)
        if self.queue is not None and self._large:
            self.queue.push(torch.cat(self._large, dim=1))
        self._large = []
