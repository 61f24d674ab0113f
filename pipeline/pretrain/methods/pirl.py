"""PIRL: an image, and its pieces in any order, are told from all other images by a bank of their past vectors.

Misra and van der Maaten 2020, "Self-supervised learning of pretext-invariant representations". The letters: f is the
unit projection of a view, g that of the jigsaw of the other view; the bank holds a moving average of f.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.base.errors import ParamsError
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import mlp
from pipeline.nn.norm import statistics_kept
from pipeline.nn.primitives import feature_std, unit
from pipeline.parallel import dist
from pipeline.pretrain.feed import Views
from pipeline.pretrain.instance_bank import InstanceDiscrimination, InstanceParams

LEAST_CELL = 4  # pixels on a side


class PirlParams(InstanceParams):
    """The block `pretrain.pirl`."""

    grid: int = Field(ge=2)  # cells on a side
    patch: float = Field(gt=0, le=1)  # side of the crop in a cell, as a share of the cell's


def jigsaw(
    images: Float[Tensor, "b c h w"],
    order: Int64[Tensor, "b p"],
    across: Float[Tensor, "b p"],
    down: Float[Tensor, "b p"],
    share: float,
) -> Float[Tensor, "b p c s t"]:
    """Piece j of an image is a crop of its cell order[j]; the p cells, a square number, are counted row by row.

    A crop has `share` of its cell's sides, and `across` and `down` in [0, 1] place it in what is free of the cell. All
    come out at one size, that of a crop rounded to whole pixels; where it was whole, and the place too, the pixels are
    the image's own. The parameters may lie on the CPU, wherever the images are.
    """
    b, p = order.shape
    grid = math.isqrt(p)
    size = [max(1, round(side / grid * share)) for side in images.shape[2:]]
    left = (order % grid + across * (1 - share)) / grid  # in shares of the image
    top = (order // grid + down * (1 - share)) / grid
    half = torch.full_like(left, share / grid)  # of a crop's side, where the image's side is 2
    zero = torch.zeros_like(left)
    rows = [half, zero, 2 * left + half - 1, zero, half, 2 * top + half - 1]
    matrix = torch.stack(rows, -1).reshape(-1, 2, 3).to(images)
    places = F.affine_grid(matrix, [b * p, 1, *size], align_corners=False).reshape(b, p * size[0], size[1], 2)
    # The pieces of an image below one another: one picture to sample, and no copy of the image for each.
    out = F.grid_sample(images, places, mode="bilinear", padding_mode="reflection", align_corners=False)
    return out.unflatten(2, (p, size[0])).movedim(2, 1)


class Pirl(InstanceDiscrimination[PirlParams]):
    """The method: half the loss of f against the bank and half that of g (eq. 5 with lambda 1/2).

    Departures: the loss is NPID's, whose h has a constant Z or is the full softmax, where eq. 3 divides by the sum over
    the drawn rows; pieces of one image have its view's colours, not each its own.
    """

    Params = PirlParams

    def __init__(self, backbone: Backbone, params: PirlParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.backbone = backbone
        norm = params.head_norm
        self.image_head = mlp([backbone.dim, params.dim], norm=False, last_norm=norm, affine=False)
        self.piece_head = mlp([backbone.dim, params.dim], norm=False)
        self.join = mlp([params.grid**2 * params.dim, params.dim], norm=False, last_norm=norm, affine=False)

    def loss(self, views: Views) -> Step:
        """Half each for the first view and the second's pieces; the features of the second are the pieces' mean.

        Raises ParamsError where cells would have fewer than 4 pixels on a side.
        """
        pieces = self.pieces(views.second)
        with statistics_kept(self.backbone):
            parts = self.backbone(pieces.flatten(0, 1)).unflatten(0, pieces.shape[:2])
        g = unit(self.join(self.piece_head(parts).flatten(1)))
        h = self.backbone(views.first)
        f = unit(self.image_head(h))
        loss = self.bank_loss(torch.stack([f, g]), views.rows, f)
        return Step(loss, {"feature_std": feature_std(f)}, [h, parts.mean(dim=1)])

    def pieces(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b p c s t"]:
        """A crop of each cell in an order of each image's own, by torch's global chance."""
        h, w = images.shape[2:]
        if min(h, w) < LEAST_CELL * self.params.grid:
            raise ParamsError(
                f"pretrain.pirl.grid: expected at most {min(h, w) // LEAST_CELL} in images of {h} x {w}, for cells of "
                f"{LEAST_CELL} pixels, got {self.params.grid}"
            )
        total = len(images) * dist.world()
        part = dist.share(total, "pretrain.batch_size")
        order, across, down = torch.rand(3, total, self.params.grid**2)[:, part]
        return jigsaw(images, order.argsort(dim=1), across, down, self.params.patch)
