"""What SwAV, MIRA and DINO share: prototypes that all views are compared with, and a loss that swaps views.

The letters: z are unit projections of v views, the two large ones first; q are the targets of those two, which say how
much each image belongs to each of k prototypes.
"""

from typing import TypeVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pipeline.nn.backbones import Backbone
from pipeline.nn.norm import statistics_kept
from pipeline.nn.primitives import soft_ce, unit
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised


class PrototypeParams(MethodParams):
    """The start of the blocks of SwAV and MIRA."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)
    prototypes: int = Field(ge=2)
    temperature: float = Field(gt=0)
    iterations: int = Field(ge=1)  # of what makes the targets
    frozen: float = Field(ge=0, le=1)  # share of the steps in which the prototypes stay as they were drawn


P = TypeVar("P", bound=PrototypeParams)


def all_features(backbone: nn.Module, views: Views) -> Float[Tensor, "n f"]:
    """The features of all views, one view after the other, the two large ones first.

    One pass for each size; small views do not move the running statistics of batch norm.
    """
    h = backbone(torch.cat([views.first, views.second]))
    if len(views.local) == 0:
        return h
    with statistics_kept(backbone):
        return torch.cat([h, backbone(views.local.flatten(0, 1))])


def swapped_loss(
    z: Float[Tensor, "v b d"], q: Float[Tensor, "2 b k"], prototypes: Float[Tensor, "k d"], temperature: float
) -> Float[Tensor, ""]:
    """Cross-entropy of each large view's targets as seen from every other view (SwAV, eq. 2 and 6), all unit vectors.

    Mean over the batch and the 2 (v - 1) pairs of views, which SwAV's paper sums; log k where all scores are equal. No
    gradient reaches q.
    """
    q = q.detach()
    large = soft_ce(z[:2].flatten(0, 1), prototypes, q.flip(0).flatten(0, 1), temperature)
    small = len(z) - 2
    if small == 0:
        return large
    # A small view has both views' targets: their mean, at the weight of two pairs.
    both = soft_ce(z[2:].flatten(0, 1), prototypes, q.mean(dim=0).repeat(small, 1), temperature)
    return (large + small * both) / (1 + small)


def learnt(prototypes: Tensor, progress: float, frozen: float) -> Tensor:
    """The prototypes, without a gradient in the first share `frozen` of the steps.

    The optimiser passes them by then; a gradient of zero would still get decay and momentum.
    """
    return prototypes.detach() if progress < frozen else prototypes


class PrototypeMethod(SelfSupervised[P]):
    """A method with unit prototypes.

    They are brought back to length 1 after each step of the optimiser. So weight decay, which shrinks them along
    themselves, moves none of them by itself.
    """

    takes_local = True

    def __init__(self, backbone: Backbone, params: P, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.prototypes = nn.Parameter(unit(torch.randn(params.prototypes, params.dim, generator=chance)))

    def learnt_prototypes(self) -> Float[Tensor, "k d"]:
        """As the loss sees them: without a gradient while they are frozen."""
        return learnt(self.prototypes, self.progress, self.params.frozen)

    @torch.no_grad()
    def after_step(self, _step: int, _num_steps: int) -> None:
        """Brings the prototypes back to length 1, unless they are frozen."""
        if self.progress >= self.params.frozen:
            self.prototypes.copy_(unit(self.prototypes))
