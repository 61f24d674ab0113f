"""MaskFeat: a vision transformer says in which directions edges run in the patches of an image that are masked.

Wei et al. 2022, "Masked feature prediction for self-supervised visual pre-training". The targets are histograms of
oriented gradients (HOG), which are not learnt.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Generator, Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.primitives import feature_std, in_float32
from pipeline.nn.vit import VisionTransformer
from pipeline.parallel import dist
from pipeline.pretrain.feed import Views
from pipeline.pretrain.masked import hidden_error, patches_of, require_patches
from pipeline.pretrain.method import MethodParams, SelfSupervised

BINS = 9  # of half a turn
LEAST = 1e-3  # length of a histogram that becomes a unit vector: below one step of 255, above what rounding makes
NUDGE = 1e-4  # of a bin: gradients along an axis, as all are at the border, lie between two, and rounding would choose
SOBEL = ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0))
BLOCKS = 16  # that are drawn for an image: more than cover the share that is masked, as a rule
LOG_ASPECT = math.log(0.3)  # of a block's height to its width, and with the other sign


class MaskfeatParams(MethodParams):
    """The block `pretrain.maskfeat`."""

    masked: float = Field(gt=0, lt=1)  # share of the patches
    block: int = Field(ge=1)  # least patches of a block that is masked at once
    cell: int = Field(ge=1)  # pixels on a side of what has one histogram; a divisor of the patch's


@in_float32
def histograms(images: Float[Tensor, "b c h w"], cell: int) -> Float[Tensor, "b r s t"]:
    """Of each channel and cell, how strong edges of nine directions are, as a unit vector; zeros where it is flat.

    Gradients are Sobel's, mirrored at the border. Each counts by its length for one bin, times a Gaussian whose window
    of two cells and deviation of one is laid side by side from the left upper corner on. r is 9 * c, a channel's bins
    together.
    """
    b, c, h, w = images.shape
    kernel = torch.tensor(SOBEL, dtype=images.dtype, device=images.device)
    framed = F.pad(images, (1, 1, 1, 1), mode="reflect").reshape(b * c, 1, h + 2, w + 2)
    right, down = F.conv2d(framed, torch.stack([kernel, kernel.T])[:, None]).unbind(dim=1)
    bins = (torch.atan2(down, right) * (BINS / math.pi) + NUDGE).floor().remainder(BINS)
    reach = torch.arange(2 * cell, dtype=images.dtype, device=images.device) - (cell - 0.5)
    bell = (-0.5 * (reach / cell).square()).exp()
    across, along = (bell.repeat(math.ceil(side / (2 * cell)))[:side] for side in (w, h))
    length = torch.hypot(right, down) * across * along[:, None]
    votes = length[:, None] * (bins[:, None] == torch.arange(BINS, device=images.device).reshape(-1, 1, 1))
    return F.normalize(F.avg_pool2d(votes, cell) * cell**2, dim=1, eps=LEAST).reshape(b, BINS * c, h // cell, w // cell)


def block_mask(images: int, rows: int, columns: int, count: int, least: int) -> Bool[Tensor, "images n"]:
    """`count` patches of each image, in blocks of at least `least`; by torch's global chance, on the CPU.

    Blocks are drawn one after the other, of areas up to `count` and of sides within 0.3 and 1 / 0.3 of each other, as
    far as the grid has room. Of the last block that is needed some patches are left out at random.
    """
    area, aspect, top, left = torch.rand(4, images, BLOCKS, 1)
    area = least + area * max(count - least, 0)
    root = ((2 * aspect - 1) * LOG_ASPECT).exp().sqrt()
    inside = []
    for place, side, size in ((top, rows, area.sqrt() * root), (left, columns, area.sqrt() / root)):
        long = size.round().clamp(1, side)
        first, at = (place * (side - long + 1)).floor(), torch.arange(side)
        inside.append((at >= first) & (at < first + long))
    covered = (inside[0][..., None] & inside[1][:, :, None]).flatten(2)
    turn = torch.where(covered.any(dim=1), covered.int().argmax(dim=1), BLOCKS)  # the first block that has the patch
    order = (turn + torch.rand(images, rows * columns)).argsort(dim=1)
    return torch.zeros(images, rows * columns, dtype=torch.bool).scatter(1, order[:, :count], True)


class Maskfeat(SelfSupervised[MaskfeatParams]):
    """The method: squared error of a linear layer on the tokens of masked patches against their histograms.

    Nothing is asked of the class token, which is the backbone's feature: the method is made for fine-tuning.
    """

    Params = MaskfeatParams
    num_views = 1
    architecture = VisionTransformer
    by_adamw = True
    head_at = ""

    def __init__(self, backbone: Backbone, params: MaskfeatParams, num_images: int, chance: Generator) -> None:
        """Raises ParamsError where cells do not divide the backbone's patches."""
        super().__init__(backbone, params, num_images, chance)
        self.backbone, self.side = backbone, backbone.transformer().patch
        if self.side % params.cell:
            raise ParamsError(
                f"pretrain.maskfeat.cell: expected a divisor of the patches' {self.side} pixels, got {params.cell}"
            )
        self.mask_token = nn.Parameter(0.02 * torch.randn(backbone.dim, generator=chance))
        self.head = nn.Linear(backbone.dim, (self.side // params.cell) ** 2 * BINS * int(backbone.about["channels"]))

    def loss(self, views: Views) -> Step:
        """Raises ParamsError for sides that patches do not divide, or of one patch."""
        x, p = self.backbone.normalised(views.first), self.params
        rows, columns = x.shape[2] // self.side, x.shape[3] // self.side
        require_patches(rows * columns, str(self.backbone.about["name"]))
        (total, part), count = dist.global_batch(len(x)), round(p.masked * rows * columns)
        masked = block_mask(total, rows, columns, min(max(1, count), rows * columns - 1), p.block)[part]
        masked = masked.to(x.device, non_blocking=True)
        tokens = self.backbone.transformer().tokens(x, masked=masked, mask_token=self.mask_token)
        targets = patches_of(histograms(views.first, p.cell), self.side // p.cell)
        loss = hidden_error(self.head(tokens[:, 1:]), targets, masked)
        return Step(loss, {"feature_std": feature_std(tokens[:, 0])})
