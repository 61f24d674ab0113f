"""Kinds of view. Each is a params block that turns a batch of uint8 images into floats in [0, 1].

Each image has random parameters of its own. They come from `chance` alone, in a fixed order and number, so a view is a
function of (images, chance).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from pydantic import Field, model_validator
from torch import Tensor

from pipeline.base.errors import ParamsError
from pipeline.base.params import Block
from pipeline.views import augment
from pipeline.views.augment import Chance, PerImage, uniform

LEAST_SIDE = 2  # pixels of a local crop
ASPECT = (3 / 4, 4 / 3)  # of a crop's width to its height, least and most; Szegedy et al. 2015, as torchvision has it
BLUR_SIGMA = (0.1, 2)  # pixels, least and most; SimCLR, appendix A
SOLARIZE = 0.5  # threshold; BYOL, appendix B
POSTERIZE_BITS = (4, 8)  # least and most; RandAugment
GREY = 0.5  # of the square that Cutout fills
Pixels = UInt8[Tensor, "b c h w"]
View = Float[Tensor, "b c s t"]  # of the images' size, where no other is asked for


@dataclass(frozen=True)
class Crops:
    """A crop of each image, in shares of the image, whatever its number of pixels."""

    area: PerImage
    log_ratio: PerImage  # log of the crop's width to its height, in pixels
    across: PerImage  # place in [0, 1] of what the crop leaves free
    down: PerImage
    flipped: Bool[Tensor, " b"]

    def matrix(self) -> Float[Tensor, "b 2 3"]:
        """The maps for `augment.warp`; the images are square."""
        matrix = augment.crop_matrix(self.area, self.log_ratio, self.across, self.down)
        return augment.flip_matrix(matrix, self.flipped)

    def box(self, i: int, width: float, height: float) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of crop `i` in an image of this width and height; in a square it is `matrix()`'s.

        A side that would leave the image is cut to the image's own; the other then shrinks as far as it must for the
        ratio to lie between the one drawn and 1, so that a panorama is not squeezed.
        """
        side, ratio = math.sqrt(self.area[i].item() * width * height), math.exp(self.log_ratio[i].item())
        wide, high = min(side * math.sqrt(ratio), width), min(side / math.sqrt(ratio), height)
        wide, high = min(wide, high * max(ratio, 1)), min(high, wide / min(ratio, 1))
        left, top = self.across[i].item() * (width - wide), self.down[i].item() * (height - high)
        return left, top, min(left + wide, width), min(top + high, height)


class ContrastiveView(Block):
    """SimCLR's and MoCo v2's view: a crop resized to the whole, flip, colour jitter, loss of colour, blur, solarize."""

    crop_min: float = Field(gt=0, le=1)  # least and most share of the image's area
    crop_max: float = Field(gt=0, le=1)
    flip: float = Field(ge=0, le=1)  # probability of exchanging left and right
    jitter_prob: float = Field(ge=0, le=1)  # probability that the next four act
    brightness: float = Field(ge=0, le=1)  # factors are drawn from 1 +- this
    contrast: float = Field(ge=0, le=1)
    saturation: float = Field(ge=0, le=1)
    hue: float = Field(ge=0, le=0.5)  # in turns, +- this
    grey_prob: float = Field(ge=0, le=1)  # probability of losing all colour
    blur_prob: float = Field(ge=0, le=1)  # probability
    solarize_prob: float = Field(ge=0, le=1)  # probability of inverting the bright half, as BYOL does

    @model_validator(mode="after")
    def _range(self) -> "ContrastiveView":
        if self.crop_min > self.crop_max:
            raise ValueError(f"crop_min of at most crop_max, {self.crop_max}")
        return self

    def __call__(self, images: Pixels, chance: Chance, size: tuple[int, int] | None = None) -> View:
        """One view of each image, of its size or of `size`."""
        cropped = augment.warp(images.float() / 255, self.crops(len(images), chance).matrix(), size)
        return self.photometric(cropped, chance)

    def crops(self, count: int, chance: Chance) -> Crops:
        """The first half of a view: where it lies."""
        return Crops(
            uniform(count, self.crop_min, self.crop_max, chance),
            uniform(count, math.log(ASPECT[0]), math.log(ASPECT[1]), chance),
            uniform(count, 0, 1, chance),
            uniform(count, 0, 1, chance),
            uniform(count, 0, 1, chance) < self.flip,
        )

    def photometric(self, images: View, chance: Chance) -> View:
        """The second half: what happens to the colours of the cropped images, on their device."""
        b, channels = images.shape[:2]
        jittered = uniform(b, 0, 1, chance) < self.jitter_prob

        def factor(limit: float, neutral: float) -> Float[Tensor, " b"]:
            """U(neutral - limit, neutral + limit) for images that are jittered, `neutral` for the rest."""
            return torch.where(jittered, uniform(b, neutral - limit, neutral + limit, chance), neutral)

        images = augment.brightness(images, factor(self.brightness, 1))
        images = augment.contrast(images, factor(self.contrast, 1))
        if channels > 1:
            images = augment.saturation(images, factor(self.saturation, 1))
            images = augment.hue(images, factor(self.hue, 0))
            images = augment.saturation(images, (uniform(b, 0, 1, chance) >= self.grey_prob).float())
        if self.blur_prob > 0:
            blurred = uniform(b, 0, 1, chance) < self.blur_prob
            images = augment.blur(images, uniform(b, *BLUR_SIGMA, chance) * blurred)
        if self.solarize_prob > 0:
            images = augment.solarize(images, torch.where(uniform(b, 0, 1, chance) < self.solarize_prob, SOLARIZE, 2.0))
        return images


class LocalCrops(Block):
    """SwAV's multi-crop: small views of small parts, beside the two large ones."""

    count: int = Field(ge=0)
    side: float = Field(gt=0, le=1)  # of the view, as a share of the image's
    crop_min: float = Field(gt=0, le=1)
    crop_max: float = Field(gt=0, le=1)

    def view(self, large: ContrastiveView) -> ContrastiveView:
        return large.model_copy(update={"crop_min": self.crop_min, "crop_max": self.crop_max})

    def size(self, size: tuple[int, int], block: str) -> tuple[int, int]:
        """(height, width) in pixels of the small views of images of a size.

        Raises ParamsError below 2 pixels; `block` is where in params.yaml these values stand.
        """
        small = round(size[0] * self.side), round(size[1] * self.side)
        if min(small) < LEAST_SIDE:
            raise ParamsError(
                f"{block}.side: expected at least {LEAST_SIDE / min(size):.3f} for images of "
                f"{size[0]} x {size[1]}, {LEAST_SIDE} pixels, got {self.side}"
            )
        return small


class WeakView(Block):
    """FixMatch's weak view: flip and a small shift."""

    flip: float = Field(ge=0, le=1)  # probability
    shift: float = Field(ge=0, lt=1)  # largest shift, as a share of the side

    def __call__(self, images: Pixels, chance: Chance) -> View:
        b, _, h, w = images.shape
        zero = torch.zeros(b)
        # Whole pixels, so that nothing is blurred: a half-side is h / 2 pixels.
        down, across = ((uniform(b, -self.shift, self.shift, chance) * side).round() * 2 / side for side in (h, w))
        matrix = augment.affine_matrix(zero, zero, zero, across, down)
        flipped = uniform(b, 0, 1, chance) < self.flip
        return augment.warp(images.float() / 255, augment.flip_matrix(matrix, flipped))


class StrongView(Block):
    """FixMatch's strong view: RandAugment and Cutout, drawn for a whole batch at once.

    Departures: RandAugment applies 2 operations out of 14; here each of rotation, two shears, two shifts, brightness,
    contrast, saturation (RGB), solarize and posterize acts with probability `op_prob`, and all geometric ones together
    are one bilinear pass. Equalize, autocontrast and sharpness are left out, and there is no weak shift beneath.
    """

    flip: float = Field(ge=0, le=1)
    op_prob: float = Field(ge=0, le=1)  # probability of each operation
    rotate: float = Field(ge=0, le=180)  # degrees, +- this
    shear: float = Field(ge=0, le=1)
    shift: float = Field(ge=0, lt=1)  # share of the side
    colour: float = Field(ge=0, le=1)  # brightness, contrast and saturation factors are drawn from 1 +- this
    solarize: bool
    posterize: bool  # to 4 to 8 bits
    cutout: float = Field(ge=0, le=1)  # largest side of the grey square as a share of the image's

    def __call__(self, images: Pixels, chance: Chance) -> View:
        b, channels = images.shape[:2]

        def draw(low: float, high: float, neutral: float) -> Float[Tensor, " b"]:
            """U(low, high) for images on which the operation acts, `neutral` for the rest."""
            acts = uniform(b, 0, 1, chance) < self.op_prob
            return torch.where(acts, uniform(b, low, high, chance), neutral)

        limits = math.radians(self.rotate), self.shear, self.shear, 2 * self.shift, 2 * self.shift
        matrix = augment.affine_matrix(*(draw(-limit, limit, 0) for limit in limits))
        flipped = uniform(b, 0, 1, chance) < self.flip
        view = augment.warp(images.float() / 255, augment.flip_matrix(matrix, flipped))
        view = augment.brightness(view, draw(1 - self.colour, 1 + self.colour, 1))
        view = augment.contrast(view, draw(1 - self.colour, 1 + self.colour, 1))
        if channels == 3:
            view = augment.saturation(view, draw(1 - self.colour, 1 + self.colour, 1))
        if self.solarize:
            view = augment.solarize(view, draw(0, 1, 2))
        if self.posterize:
            view = augment.posterize(view, draw(*POSTERIZE_BITS, 8).round().exp2())
        across, down, side = (uniform(b, 0, high, chance) for high in (1, 1, self.cutout))
        return augment.cutout(view, across, down, side, fill=GREY)
