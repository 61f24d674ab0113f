"""ORL: BYOL for images of several things, between boxes that look alike in one image and in its nearest images.

Xie et al. 2021, "Unsupervised object-level representation learning from scene images".
"""

import logging
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float, Int64, UInt8
from pydantic import Field
from torch import Generator, Tensor

from pipeline.base import rng
from pipeline.base.errors import ParamsError
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone, try_size
from pipeline.nn.primitives import feature_std, unit
from pipeline.parallel import dist
from pipeline.pretrain.bootstrap import Bootstrap, BootstrapParams
from pipeline.pretrain.boxes import TRIES, crops, moved, random_boxes
from pipeline.pretrain.feed import Views
from pipeline.pretrain.pairs import Pairs, one_of
from pipeline.views.chance import Chance
from pipeline.views.kinds import ContrastiveView, part_of

log = logging.getLogger(__name__)
PASS = 2048  # crops in a pass of the teacher, at most


class OrlParams(BootstrapParams):
    """The block `pretrain.orl`."""

    start: float = Field(ge=0, le=1)  # share of the steps without boxes: BYOL
    neighbours: int = Field(ge=1)  # nearest images of each image
    boxes: int = Field(ge=2)  # of each image, at most
    least_side: float = Field(gt=0, le=1)  # of a box, as a share of the image's
    kept: float = Field(gt=0, le=1)  # pairs of boxes of two images, as a share of the number of boxes
    crop: float = Field(gt=0, le=1)  # side at which the network sees a box, as a share of the image's
    within: float = Field(ge=0)  # weight of the term between a box and one near it
    across: float = Field(ge=0)  # weight of the term between boxes of two images


class Orl(Bootstrap[OrlParams]):
    """The method: BYOL's loss of whole images, of boxes within an image, and of boxes across two, a predictor for each.

    Departures: the paper trains BYOL to its end, finds the pairs by the features of that network, and begins anew; here
    the same network goes on, and at `start` the pairs are found by the teacher's projections. Boxes are random, see
    `Pairs`.
    """

    Params = OrlParams
    whole_images = False
    block = "pretrain.orl"

    def __init__(self, backbone: Backbone, params: OrlParams, num_images: int, chance: Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.within, self.across = self.new_predictor(), self.new_predictor()
        boxes = random_boxes(params.boxes, params.least_side, chance)
        self.pairs = Pairs(num_images, params.neighbours, boxes, params.kept, f"{self.block}.neighbours")
        self._images = torch.empty(0, dtype=torch.uint8)
        self._views: Sequence[ContrastiveView] = ()
        self._size = (0, 0)  # of crops

    def see(self, images: UInt8[Tensor, "n c h w"] | None, views: Sequence[ContrastiveView]) -> None:
        """Raises ParamsError where images are streamed, and for a size of crops that the network does not take."""
        if images is None:
            raise ParamsError(
                f"machine.resident_mb: expected room for all training images with {self.block}, which crops an image's "
                "neighbours, got more than it holds"
            )
        self._images, self._views = images, views
        self._size = part_of((images.shape[2], images.shape[3]), self.params.crop, f"{self.block}.crop")
        try_size(cast(Backbone, self.student.backbone), self._size)

    def loss(self, views: Views) -> Step:
        """The first at `start` finds the pairs before, which may take longer than an epoch of steps."""
        p = self.params
        boxed = self.progress >= p.start
        if boxed and not self.pairs.found:
            self.find_pairs()
        loss, features, z = self.between(views.first, views.second, self.predictor)
        terms = {"within": loss.new_zeros(()), "across": loss.new_zeros(())}
        if boxed:
            box, near, mine, theirs = self._regions(views.rows)
            terms["within"], *_ = self.between(box, near, self.within)
            terms["across"], *_ = self.between(mine, theirs, self.across)
        total = loss + p.within * terms["within"] + p.across * terms["across"]
        return Step(total, {"feature_std": feature_std(z), **terms}, features)

    def _regions(self, rows: Int64[Tensor, " b"]) -> list[Float[Tensor, "b c s t"]]:
        """Views of a box, of one near it, and of a pair of boxes of which the second is a neighbour's."""
        # Drawn on the CPU for the global batch, so that any number of processes draws the same.
        total, part = dist.global_batch(len(rows))
        which, flips, tries = (
            x[part].to(rows.device, non_blocking=True)
            for x in (torch.rand(total, 3), torch.rand(total, 4), torch.rand(total, TRIES, 4))
        )
        box = self.pairs.boxes[one_of(which[:, 0], len(self.pairs.boxes))]
        other, mine, theirs = self.pairs.drawn(rows, which[:, 1:])
        # `fit` seeds torch anew for each step; a number drawn by torch would have to be waited for.
        chance, found = Chance(rng.number(torch.initial_seed(), "pretrain", "boxes"), total, part), []
        shown = (rows, box), (rows, moved(box, tries)), (rows, mine), (other, theirs)
        for place, (images, boxes) in enumerate(shown):
            view = self._views[place % 2]
            flipped = flips[:, place, None] < view.flip
            cropped = crops(self._images[images].float() / 255, boxes[:, None], self._size, flipped)
            found.append(view.photometric(cropped[:, 0], chance))
        return found

    @torch.no_grad()
    def find_pairs(self) -> None:
        """By the teacher, with batch norm's running statistics; each process embeds its part of the images."""
        count, boxes = len(self._images), self.pairs.boxes
        if dist.rank() == 0:
            log.info("orl: finding pairs of %d boxes in %d images", len(boxes), count)
        each = -(-count // dist.world())
        rows = (torch.arange(each, device=boxes.device) + each * dist.rank()).clamp(max=count - 1)
        training = self.teacher.training
        self.teacher.eval()
        # Filled part by part: on COCO a second copy, of parts to be joined, would be 12 GB.
        whole = boxes.new_empty(each, self.params.dim)
        regions = boxes.new_empty(each, len(boxes), self.params.dim)
        for places in torch.arange(each, device=boxes.device).split(max(1, PASS // len(boxes))):
            images = self._images[rows[places]].float() / 255
            whole[places] = unit(self.teacher(images)[1])
            cropped = crops(images, boxes.expand(len(images), -1, -1), self._size)
            regions[places] = unit(self.teacher(cropped.flatten(0, 1))[1]).unflatten(0, (len(images), -1))
        self.teacher.train(training)
        self.pairs.find(dist.gather(whole)[:count], dist.gather(regions)[:count])
