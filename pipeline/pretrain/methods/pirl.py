"""PIRL: an image, and its pieces in any order, are told from all other images by a bank of their past vectors.

Misra and van der Maaten 2020, "Self-supervised learning of pretext-invariant representations". The letters: f is the
unit projection of a view, g that of the jigsaw of the other view; the bank holds a moving average of f.
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import mlp
from pipeline.nn.norm import statistics_kept
from pipeline.nn.primitives import feature_std, unit
from pipeline.parallel import dist
from pipeline.pretrain.cells import crops_of_cells, require_cells
from pipeline.pretrain.feed import Views
from pipeline.pretrain.instance_bank import InstanceDiscrimination, InstanceParams


class PirlParams(InstanceParams):
    """The block `pretrain.pirl`."""

    grid: int = Field(ge=2)  # cells on a side
    patch: float = Field(gt=0, le=1)  # side of the crop in a cell, as a share of the cell's


class Pirl(InstanceDiscrimination[PirlParams]):
    """The method: half the loss of f against the bank and half that of g (eq. 5 with lambda 1/2).

    Departures: the loss is NPID's, whose h has a constant Z or is the full softmax, where eq. 3 divides by the sum over
    the drawn rows; pieces of one image have its view's colours, not each its own.
    """

    Params = PirlParams
    head_at = "image_head"

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
        require_cells(images, self.params.grid, "pretrain.pirl.grid")
        total, part = dist.global_batch(len(images))
        order, across, down = torch.rand(3, total, self.params.grid**2)[:, part]
        return crops_of_cells(images, order.argsort(dim=1), across, down, self.params.patch)
