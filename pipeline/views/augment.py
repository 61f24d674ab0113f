"""Operations on a whole batch, on its device, with a parameter of its own for each image, in few kernels.

Images are floats in [0, 1] of shape (b, c, h, w). Parameters come from the CPU, where the caller draws them; copying
them to the images' device waits for nothing.
"""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32
from numpy import ndarray
from torch import Tensor

from pipeline.views.matrices import Affine, PerImage, luma

LEAST_LIGHT = 1e-6  # of a channel, in optical densities: black has none
Images = Float[Tensor, "b c h w"]


def warp(images: Images, matrix: Affine, size: tuple[int, int] | None = None) -> Float[Tensor, "b c s t"]:
    """Samples each image through an affine map; mirrors at the border.

    It is one bilinear pass, whatever crop, flip, rotation, shear and shift the map is made of. `size` is the output's
    (height, width); without it the output has the input's.
    """
    h, w = size or images.shape[2:]
    grid = _centres(h, w, images.device) @ on(matrix, images).mT
    return F.grid_sample(
        images, grid.unflatten(1, (h, w)), mode="bilinear", padding_mode="reflection", align_corners=False
    )


def brightness(images: Images, factor: PerImage) -> Images:
    """Scales towards black; cut to [0, 1]."""
    return (images * on(factor, images)[:, None, None, None]).clamp_(0, 1)


def colour(images: Images, matrix: Float32[ndarray, "b c c"], mean_share: PerImage) -> Images:
    """The matrix on the channels of each pixel, plus a share of the image's mean grey; cut to [0, 1]."""
    mean = images.mean((2, 3)) @ _luma(images.shape[1], images.device)
    added = (mean * on(mean_share, images))[:, None, None]
    return torch.baddbmm(added, on(matrix, images), images.flatten(2)).clamp_(0, 1).unflatten(2, images.shape[2:])


def stain(
    images: Float[Tensor, "b 3 h w"], matrix: Float32[ndarray, "b 3 3"], added: Float32[ndarray, "b 3"]
) -> Images:
    """The matrix on the optical densities -ln of each pixel's channels, and what is added; cut to [0, 1]."""
    density = images.clamp(min=LEAST_LIGHT).log().neg_().flatten(2)
    density = torch.baddbmm(on(added, images)[:, :, None], on(matrix, images), density)
    return density.neg_().exp_().clamp_(0, 1).unflatten(2, images.shape[2:])


def turned(images: Float[Tensor, "b c s s"], which: Bool[ndarray, " b"]) -> Float[Tensor, "b c s s"]:
    """A quarter turn of the images that `which` marks, which are square: pixels are exchanged, none is made anew."""
    return torch.where(on(which, images)[:, None, None, None], images.rot90(1, (2, 3)), images)


def upside_down(images: Images, which: Bool[ndarray, " b"]) -> Images:
    """Top and bottom exchanged in the images that `which` marks."""
    return torch.where(on(which, images)[:, None, None, None], images.flip(2), images)


def blur(images: Images, sigma: PerImage) -> Images:
    """Gaussian blur of standard deviation `sigma` pixels; none where sigma is 0.

    The kernel is a tenth of the shorter side wide (SimCLR, appendix A). Each axis is one product with a matrix.
    """
    h, w = images.shape[2:]
    radius = max(1, round(min(h, w) / 20))
    offsets = np.arange(-radius, radius + 1, dtype=np.float32)
    bell = np.exp(-0.5 * (offsets / np.maximum(sigma, 1e-3)[:, None]) ** 2)
    weights = on(bell / bell.sum(1, keepdims=True), images)
    reach = {side: weights @ _reach(side, radius, min(h, w) > radius, images.device) for side in {h, w}}
    rows = torch.bmm(images.flatten(1, 2), reach[w].unflatten(1, (w, w)).mT).unflatten(1, (-1, h))
    return reach[h].unflatten(1, (1, h, h)) @ rows


def solarize(images: Images, threshold: PerImage) -> Images:
    """Inverts the pixels at or above the threshold; above 1 nothing happens."""
    return torch.where(images >= on(threshold, images)[:, None, None, None], 1 - images, images)


def equalize(images: Images, which: Bool[ndarray, " b"]) -> Images:
    """Makes the 256 values of each channel come about equally often, in the images that `which` marks.

    The rule is Pillow's, to the byte. A channel of one value stays as it is.
    """
    values = (images * 255).round_().long().flatten(2)
    ones = torch.ones_like(values, dtype=torch.float32)
    count = ones.new_zeros(*values.shape[:2], 256).scatter_add_(2, values, ones)
    most = count.gather(2, values.amax(dim=2, keepdim=True))  # of the largest value, which the steps leave out
    step = ((values.shape[2] - most) / 255).floor_()
    below = count.cumsum(dim=2) - count
    new = ((below + (step / 2).floor_()) / step.clamp(min=1)).floor_().clamp_(max=255) / 255
    chosen = on(which, images)[:, None, None] & (step > 0)
    return torch.where(chosen, new.gather(2, values), images.flatten(2)).unflatten(2, images.shape[2:])


def posterize(images: Images, levels: PerImage) -> Images:
    """Rounds down to 1 / levels."""
    steps = on(levels, images)[:, None, None, None]
    return (images * steps).floor_().div_(steps)


def cutout(images: Images, across: PerImage, down: PerImage, side: PerImage, fill: float) -> Images:
    """Fills a square centred at (across, down) of `side`, all as shares of the image (DeVries and Taylor 2017)."""
    h, w = images.shape[2:]
    x, y, half = on(np.stack([across, down, side / 2]), images)[:, :, None]  # b 1
    hit_y, hit_x = (_shares(h, images.device) - y).abs() < half, (_shares(w, images.device) - x).abs() < half
    return images.masked_fill((hit_y[:, :, None] & hit_x[:, None])[:, None], fill)


def on(values: Float32[ndarray, "*s"] | Bool[ndarray, "*s"], images: Tensor) -> Tensor:
    """The values on the images' device, without waiting for it."""
    return torch.from_numpy(values).to(images.device, non_blocking=True)


@cache
def _luma(channels: int, device: torch.device) -> Float[Tensor, " c"]:
    return torch.from_numpy(luma(channels)).to(device)


@cache
def _shares(side: int, device: torch.device) -> Float[Tensor, " s"]:
    """Where the centres of pixels lie, as shares of the side."""
    return (torch.arange(side, device=device) + 0.5) / side


@cache
def _centres(h: int, w: int, device: torch.device) -> Float[Tensor, "hw 3"]:
    """(x, y, 1) of each pixel's centre, in [-1, 1]."""
    y, x = torch.meshgrid(2 * _shares(h, device) - 1, 2 * _shares(w, device) - 1, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], 2).flatten(0, 1)


@cache
def _reach(side: int, radius: int, reflect: bool, device: torch.device) -> Float[Tensor, "k ss"]:
    """For each offset, the matrix that takes each pixel from so far away; at the border mirrored, or the last one."""
    places = torch.arange(side, device=device) + torch.arange(-radius, radius + 1, device=device)[:, None]
    if reflect:
        places = (side - 1) - ((side - 1) - places.abs()).abs()
    return F.one_hot(places.clamp(0, side - 1), side).float().flatten(1)
