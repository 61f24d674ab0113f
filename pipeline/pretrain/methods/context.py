"""Context: see on which side of the middle of an image a neighbouring patch lies.

Doersch et al. 2015, "Unsupervised visual representation learning by context prediction".
"""

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Generator, Tensor

from pipeline.base.errors import ParamsError
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import mlp
from pipeline.nn.primitives import class_ce, feature_std, one_hot
from pipeline.parallel import dist
from pipeline.pretrain.cells import crops_of_cells
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised

GRID, CENTRE, SIDES = 3, 4, 8  # cells on a side, the number of the middle one, and its neighbours
LEAST_PATCH = 2  # pixels on a side
LEAST_STD = 1 / 255  # of a patch's values: the smallest step there is


class ContextParams(MethodParams):
    """The block `pretrain.context`."""

    patch: float = Field(gt=0, le=1)  # side of a patch, as a share of its cell's: what is left is the gap
    jitter: float = Field(ge=0, le=1)  # share of the gap in which a patch's place is drawn, about the cell's middle
    hidden_dim: int = Field(ge=1)


def standardised(
    patches: Float[Tensor, "b p c s t"], kept: Int64[Tensor, "b p"] | None = None
) -> Float[Tensor, "b p c s t"]:
    """Each channel of each patch with mean 0 and deviation 1 (0 where it is flat); 0 in all channels but the `kept`.

    What is left tells nothing of how colours lie to each other: a lens shifts them towards a picture's border, and by
    that a network would know the place.
    """
    centred = patches - patches.mean((3, 4), keepdim=True)
    out = centred / centred.square().mean((3, 4), keepdim=True).sqrt().clamp(min=LEAST_STD)
    return out if kept is None else out * one_hot(kept, patches.shape[2])[..., None, None]


class Context(SelfSupervised[ContextParams]):
    """The method: patches alone through the backbone, then the middle one's features joined with each neighbour's.

    The loss is the cross-entropy of the neighbour's side, a mean over the eight pairs of each image; log 8 where all
    logits are equal. Departures: no dropout in the head, whose decay is that of all weights; a dropped colour is 0, the
    paper's is noise.
    """

    Params = ContextParams
    num_views = 1
    head_at = ""
    whole_images = False

    def __init__(self, backbone: Backbone, params: ContextParams, num_images: int, chance: Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.backbone = backbone
        self.classify = mlp([2 * backbone.dim, params.hidden_dim, SIDES], norm=True)

    def loss(self, views: Views) -> Step:
        """Raises ParamsError where patches would have fewer than 2 pixels on a side."""
        patches = self.patches(views.first)
        h = self.backbone(patches.flatten(0, 1)).unflatten(0, patches.shape[:2])
        neighbours = torch.cat([h[:, :CENTRE], h[:, CENTRE + 1 :]], dim=1)
        pairs = torch.cat([h[:, CENTRE, None].expand_as(neighbours), neighbours], dim=2).flatten(0, 1)
        sides = torch.arange(SIDES, device=h.device).repeat(len(h))
        return Step(class_ce(self.classify(pairs), sides), {"feature_std": feature_std(h.mean(dim=1))})

    def patches(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 9 c s t"]:
        """The nine of a grid, row by row, standardised, of colour images one channel each; by torch's global chance."""
        b, channels, h, w = images.shape
        if min(h, w) / GRID * self.params.patch < LEAST_PATCH - 0.5:
            raise ParamsError(
                f"pretrain.context.patch: expected {LEAST_PATCH} pixels or more of a third of {min(h, w)}, got "
                f"{self.params.patch}"
            )
        total, part = dist.global_batch(b)
        across, down = 0.5 + self.params.jitter * (torch.rand(2, total, GRID**2)[:, part] - 0.5)
        patches = crops_of_cells(images, torch.arange(GRID**2).expand(b, -1), across, down, self.params.patch)
        kept = None
        if channels > 1:
            kept = torch.randint(channels, (total, GRID**2))[part].to(images.device, non_blocking=True)
        # As the backbone takes mean and deviation of the images away again.
        return standardised(patches, kept) * self.backbone.std + self.backbone.mean
