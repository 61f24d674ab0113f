"""Operations on a whole batch, on its device, with a parameter of its own for each image.

Images are floats in [0, 1] of shape (b, c, h, w). A parameter is a tensor of shape (b,), which the caller draws.
"""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

Images = Float[Tensor, "b c h w"]
PerImage = Float[Tensor, " b"]
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue; ITU-R BT.601


class Chance:
    """Random numbers for the images of a batch, drawn on the CPU, so that every device has the same.

    A process that holds only `part` of a batch of `total` images draws for all of them and returns those of its part.
    So several processes together see what one would.
    """

    def __init__(self, seed: int, total: int | None = None, part: slice = slice(None)) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._total, self._part = total, part

    def rand(self, count: int, *shape: int) -> Float[Tensor, " b *s"]:
        """Numbers from U(0, 1) for `count` images: the whole batch, or this process's part of it."""
        return torch.rand(self._total or count, *shape, generator=self._generator)[self._part]

    def over(self, total: int, part: slice) -> "Chance":
        """The same stream from its present place, for a batch of `total` images of which this process has `part`."""
        other = copy.copy(self)
        other._total, other._part = total, part
        return other


def uniform(count: int, low: float, high: float, chance: Chance) -> PerImage:
    return chance.rand(count) * (high - low) + low


def warp(
    images: Images, matrix: Float[Tensor, "b 2 3"], size: tuple[int, int] | None = None
) -> Float[Tensor, "b c s t"]:
    """Samples each image through an affine map of output to input coordinates, both in [-1, 1]; mirrors at the border.

    It is one bilinear pass, whatever crop, flip, rotation, shear and shift the map is made of. `size` is the output's
    (height, width); without it the output has the input's.
    """
    shape = [*images.shape[:2], *(size or images.shape[2:])]
    grid = F.affine_grid(matrix.to(images.device), shape, align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def crop_matrix(area: PerImage, log_ratio: PerImage, across: PerImage, down: PerImage) -> Float[Tensor, "b 2 3"]:
    """Maps to a crop of share `area` of the image and aspect ratio exp(log_ratio), resized to the whole.

    `across` and `down` in [0, 1] place it. A side that would leave the image is cut to the image's own.
    """
    width = (area.sqrt() * (log_ratio / 2).exp()).clamp(max=1)
    height = (area.sqrt() * (-log_ratio / 2).exp()).clamp(max=1)
    zero = torch.zeros_like(area)
    rows = [width, zero, (2 * across - 1) * (1 - width), zero, height, (2 * down - 1) * (1 - height)]
    return torch.stack(rows, 1).reshape(-1, 2, 3)


def affine_matrix(
    radians: PerImage, shear_x: PerImage, shear_y: PerImage, shift_x: PerImage, shift_y: PerImage
) -> Float[Tensor, "b 2 3"]:
    """Maps that rotate about the centre, then shear, then shift; shifts are in half-sides."""
    cos, sin = radians.cos(), radians.sin()
    rows = [cos + shear_x * sin, shear_x * cos - sin, shift_x, sin + shear_y * cos, cos - shear_y * sin, shift_y]
    return torch.stack(rows, 1).reshape(-1, 2, 3)


def flip_matrix(matrix: Float[Tensor, "b 2 3"], flipped: Bool[Tensor, " b"]) -> Float[Tensor, "b 2 3"]:
    """The same maps with left and right exchanged in the output where `flipped`."""
    sign = torch.where(flipped, -1.0, 1.0)
    return torch.stack([matrix[:, :, 0] * sign[:, None], matrix[:, :, 1], matrix[:, :, 2]], 2)


def grey(images: Images) -> Float[Tensor, "b 1 h w"]:
    """Luma of RGB images; the mean of any other number of channels."""
    if images.shape[1] != len(LUMA):
        return images.mean(dim=1, keepdim=True)
    return torch.einsum("bchw,c->bhw", images, images.new_tensor(LUMA))[:, None]


def blend(images: Images, other: Tensor, factor: PerImage) -> Images:
    """`other` at factor 0, the images at 1, away from `other` above 1; not clamped."""
    return torch.lerp(other.expand_as(images), images, _broadcast(factor, images))


def brightness(images: Images, factor: PerImage) -> Images:
    """Scales towards black."""
    return (images * _broadcast(factor, images)).clamp(0, 1)


def contrast(images: Images, factor: PerImage) -> Images:
    """Scales the distance to each image's mean luma."""
    return blend(images, grey(images).mean((1, 2, 3), keepdim=True), factor).clamp(0, 1)


def saturation(images: Images, factor: PerImage) -> Images:
    """Scales the distance to each pixel's luma; nothing happens to one channel."""
    return blend(images, grey(images), factor).clamp(0, 1)


def hue(images: Images, turns: PerImage) -> Images:
    """Rotates RGB about the grey axis by a share of a full turn; images of other channels stay as they are.

    Departure: torchvision shifts the hue of HSV, which is not linear; this keeps each pixel's mean instead.
    """
    if images.shape[1] != len(LUMA):
        return images
    angle = turns * 2 * torch.pi
    cos, sin = angle.cos(), angle.sin() / 3**0.5
    diagonal, before, after = (1 + 2 * cos) / 3, (1 - cos) / 3 - sin, (1 - cos) / 3 + sin
    rows = [diagonal, before, after, after, diagonal, before, before, after, diagonal]
    rotation = torch.stack(rows, 1).reshape(-1, 3, 3).to(images.device)
    return torch.einsum("bij,bjhw->bihw", rotation, images).clamp(0, 1)


def blur(images: Images, sigma: PerImage) -> Images:
    """Gaussian blur of standard deviation `sigma` pixels; none where sigma is 0.

    The kernel is a tenth of the shorter side wide (SimCLR, appendix A).
    """
    radius = max(1, round(min(images.shape[2:]) / 20))
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    weights = torch.exp(-offsets.square() / (2 * sigma.clamp(min=1e-3).square())[:, None])
    weights = (weights / weights.sum(1, keepdim=True)).to(images.device)
    for axis in (2, 3):
        pad = [0, 0, radius, radius] if axis == 2 else [radius, radius, 0, 0]
        padded = F.pad(images, pad, mode="reflect" if min(images.shape[2:]) > radius else "replicate")
        parts = [
            padded.narrow(axis, i, images.shape[axis]) * weights[:, i, None, None, None] for i in range(len(offsets))
        ]
        images = torch.stack(parts).sum(0)
    return images


def solarize(images: Images, threshold: PerImage) -> Images:
    """Inverts the pixels at or above the threshold; above 1 nothing happens."""
    return torch.where(images >= _broadcast(threshold, images), 1 - images, images)


def posterize(images: Images, levels: PerImage) -> Images:
    """Rounds down to 1 / levels."""
    levels = _broadcast(levels, images)
    return ((images * levels).floor() / levels).clamp(0, 1)


def cutout(images: Images, across: PerImage, down: PerImage, side: PerImage, fill: float) -> Images:
    """Fills a square centred at (across, down) of `side`, all as shares of the image (DeVries and Taylor 2017)."""
    h, w = images.shape[2:]
    ys = (torch.arange(h, device=images.device) + 0.5) / h
    xs = (torch.arange(w, device=images.device) + 0.5) / w
    across, down, side = (v.to(images.device)[:, None] for v in (across, down, side))
    hit_y, hit_x = (ys - down).abs() < side / 2, (xs - across).abs() < side / 2
    return images.masked_fill((hit_y[:, :, None] & hit_x[:, None, :])[:, None], fill)


def _broadcast(values: PerImage, images: Images) -> Float[Tensor, "b 1 1 1"]:
    return values.to(images.device)[:, None, None, None]
