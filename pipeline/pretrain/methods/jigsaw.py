"""Jigsaw: see in which of some orders the pieces of an image lie.

Noroozi and Favaro 2016, "Unsupervised learning of visual representations by solving jigsaw puzzles".
"""

import math
from itertools import permutations

import torch
from jaxtyping import Float, Int64
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn

from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import mlp
from pipeline.nn.primitives import class_ce, feature_std
from pipeline.parallel import dist
from pipeline.pretrain.cells import crops_of_cells, require_cells
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised


class JigsawParams(MethodParams):
    """The block `pretrain.jigsaw`."""

    grid: int = Field(ge=2, le=3)  # cells on a side; sixteen cells have too many orders to choose from
    patch: float = Field(gt=0, le=1)  # side of the crop in a cell, as a share of the cell's
    hidden_dim: int = Field(ge=1)  # for each piece
    orders: int = Field(ge=2)  # that are told apart, at most grid^2!

    @model_validator(mode="after")
    def _as_many_as_there_are(self) -> "JigsawParams":
        most = math.factorial(self.grid**2)
        if self.orders > most:
            raise ValueError(f"at most {most} orders of {self.grid**2} cells")
        return self


def distant_orders(cells: int, count: int, chance: Generator) -> Int64[Tensor, "count cells"]:
    """Orders of the cells that differ in many places, all of them different: greedy, from a drawn one on.

    Each further order is one whose nearest chosen order is farthest in Hamming distance, drawn among equals.
    """
    everything = torch.tensor(list(permutations(range(cells))), dtype=torch.int8)
    everything = everything[torch.randperm(len(everything), generator=chance)]
    chosen, nearest = [0], torch.full((len(everything),), cells)
    for _ in range(count - 1):
        nearest = torch.minimum(nearest, (everything != everything[chosen[-1]]).sum(dim=1))
        chosen.append(int(nearest.argmax()))
    return everything[chosen].long()


class Jigsaw(SelfSupervised[JigsawParams]):
    """The method: each piece alone through the backbone and a layer, then one linear layer over the joined pieces.

    The loss is the cross-entropy of the order, which each image draws for itself; log `orders` where all logits are
    equal.
    """

    Params = JigsawParams
    num_views = 1
    head_at = ""
    whole_images = False
    orders: Tensor

    def __init__(self, backbone: Backbone, params: JigsawParams, num_images: int, chance: Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        cells, hidden = params.grid**2, params.hidden_dim
        self.backbone = backbone
        self.piece_head = nn.Sequential(mlp([backbone.dim, hidden], norm=False, last_norm=True), nn.ReLU())
        self.classify = nn.Linear(cells * hidden, params.orders)
        self.register_buffer("orders", distant_orders(cells, params.orders, chance))

    def loss(self, views: Views) -> Step:
        """Raises ParamsError where cells would have fewer than 4 pixels on a side."""
        pieces, which = self.pieces(views.first)
        h = self.backbone(pieces.flatten(0, 1))
        logits = self.classify(self.piece_head(h).unflatten(0, pieces.shape[:2]).flatten(1))
        features = h.unflatten(0, pieces.shape[:2]).mean(dim=1)
        return Step(class_ce(logits, which), {"feature_std": feature_std(features)})

    def pieces(self, images: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b p c s t"], Int64[Tensor, " b"]]:
        """A crop of each cell in one of the orders, and the number of that order, by torch's global chance."""
        p = self.params
        require_cells(images, p.grid, "pretrain.jigsaw.grid")
        total, part = dist.global_batch(len(images))
        which = torch.randint(p.orders, (total,))[part].to(images.device, non_blocking=True)
        across, down = torch.rand(2, total, p.grid**2)[:, part].to(images.device, non_blocking=True)
        return crops_of_cells(images, self.orders[which], across, down, p.patch), which
