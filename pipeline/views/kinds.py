"""Kinds of view, each a params block that turns a uint8 batch into floats in [0, 1], drawing anew for each image.

The draws come from the generator alone, in a fixed order and number, so a view is a function of (images, generator).
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
from pipeline.views.augment import Chance, Each, uniform

LEAST_SIDE = 2  # pixels of a local crop
Raw = UInt8[Tensor, "b c h w"]
View = Float[Tensor, "b c s t"]  # as a rule of the images' own size


@dataclass(frozen=True)
class Crops:
    """A crop of each image, in shares of the image: what any reader of pixels needs to make it."""

    area: Each
    log_ratio: Each  # of the crop's width to its height, as pixels
    across: Each  # place in [0, 1] of what is free
    down: Each
    flipped: Bool[Tensor, " b"]

    def matrix(self) -> Float[Tensor, "b 2 3"]:
        """Maps for `augment.warp`, of square images."""
        matrix = augment.crop_matrix(self.area, self.log_ratio, self.across, self.down)
        return augment.flip_matrix(matrix, self.flipped)

    def box(self, i: int, width: float, height: float) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of crop `i` in an image of this width and height; of a square it is `matrix()`'s.

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

    crop_min: float = Field(gt=0, le=1)  # least and most share of the area
    crop_max: float = Field(gt=0, le=1)
    flip: float = Field(ge=0, le=1)  # this and the next *_prob: probabilities
    jitter_prob: float = Field(ge=0, le=1)
    brightness: float = Field(ge=0, le=1)  # factors are drawn from 1 +- this
    contrast: float = Field(ge=0, le=1)
    saturation: float = Field(ge=0, le=1)
    hue: float = Field(ge=0, le=0.5)  # in turns, +- this
    grey_prob: float = Field(ge=0, le=1)
    blur_prob: float = Field(ge=0, le=1)
    solarize_prob: float = Field(ge=0, le=1)  # of inverting the bright half, as BYOL does

    @model_validator(mode="after")
    def _range(self) -> "ContrastiveView":
        if self.crop_min > self.crop_max:
            raise ValueError(f"crop_min of at most crop_max, {self.crop_max}")
        return self

    def __call__(self, raw: Raw, chance: Chance, size: tuple[int, int] | None = None) -> View:
        """One view of each image, of its size or of `size`."""
        images = augment.warp(raw.float() / 255, self.crops(len(raw), chance).matrix(), size)
        return self.photometric(images, chance)

    def crops(self, count: int, chance: Chance) -> Crops:
        """The first half of a view: where it lies."""
        return Crops(
            uniform(count, self.crop_min, self.crop_max, chance),
            uniform(count, math.log(3 / 4), math.log(4 / 3), chance),
            uniform(count, 0, 1, chance),
            uniform(count, 0, 1, chance),
            uniform(count, 0, 1, chance) < self.flip,
        )

    def photometric(self, images: View, chance: Chance) -> View:
        """The second half: what happens to the colours of the cropped images, on their device."""
        b, channels = images.shape[:2]
        jittered = uniform(b, 0, 1, chance) < self.jitter_prob

        def factor(reach: float, neutral: float) -> Float[Tensor, " b"]:
            """U(neutral - reach, neutral + reach) for images that are jittered, `neutral` for the others."""
            return torch.where(jittered, uniform(b, neutral - reach, neutral + reach, chance), neutral)

        images = augment.brightness(images, factor(self.brightness, 1))
        images = augment.contrast(images, factor(self.contrast, 1))
        if channels > 1:
            images = augment.saturation(images, factor(self.saturation, 1))
            images = augment.hue(images, factor(self.hue, 0))
            images = augment.saturation(images, (uniform(b, 0, 1, chance) >= self.grey_prob).float())
        if self.blur_prob > 0:
            blurred = uniform(b, 0, 1, chance) < self.blur_prob
            images = augment.blur(images, uniform(b, 0.1, 2, chance) * blurred)
        if self.solarize_prob > 0:
            images = augment.solarize(images, torch.where(uniform(b, 0, 1, chance) < self.solarize_prob, 0.5, 2.0))
        return images


class LocalCrops(Block):
    """SwAV's multi-crop: small views of small parts, beside the two large ones."""

    count: int = Field(ge=0)
    side: float = Field(gt=0, le=1)  # of the view, as a share of the image's; 96 / 224 in the paper
    crop_min: float = Field(gt=0, le=1)
    crop_max: float = Field(gt=0, le=1)

    def view(self, large: ContrastiveView) -> ContrastiveView:
        """The large view with these crops."""
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
    shift: float = Field(ge=0, lt=1)  # largest shift as a share of the side; 0.125 in the paper

    def __call__(self, raw: Raw, chance: Chance) -> View:
        """One view of each image."""
        b, _, h, w = raw.shape
        zero = torch.zeros(b)
        # Whole pixels, so that nothing is blurred: a half-side is h / 2 pixels.
        down, across = ((uniform(b, -self.shift, self.shift, chance) * side).round() * 2 / side for side in (h, w))
        matrix = augment.turn_matrix(zero, zero, zero, across, down)
        flipped = uniform(b, 0, 1, chance) < self.flip
        return augment.warp(raw.float() / 255, augment.flip_matrix(matrix, flipped))


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
    cutout: float = Field(ge=0, le=1)  # largest side of the grey square as a share of the image's; 0.5 in the paper

    def __call__(self, raw: Raw, chance: Chance) -> View:
        """One view of each image."""
        b, channels = raw.shape[:2]

        def drawn(low: float, high: float, neutral: float) -> Float[Tensor, " b"]:
            """U(low, high) for images on which the operation acts, `neutral` for the others."""
            acts = uniform(b, 0, 1, chance) < self.op_prob
            return torch.where(acts, uniform(b, low, high, chance), neutral)

        reaches = math.radians(self.rotate), self.shear, self.shear, 2 * self.shift, 2 * self.shift
        matrix = augment.turn_matrix(*(drawn(-reach, reach, 0) for reach in reaches))
        flipped = uniform(b, 0, 1, chance) < self.flip
        images = augment.warp(raw.float() / 255, augment.flip_matrix(matrix, flipped))
        images = augment.brightness(images, drawn(1 - self.colour, 1 + self.colour, 1))
        images = augment.contrast(images, drawn(1 - self.colour, 1 + self.colour, 1))
        if channels == 3:
            images = augment.saturation(images, drawn(1 - self.colour, 1 + self.colour, 1))
        if self.solarize:
            images = augment.solarize(images, drawn(0, 1, 2))
        if self.posterize:
            images = augment.posterize(images, drawn(4, 8, 8).round().exp2())
        across, down, side = (uniform(b, 0, high, chance) for high in (1, 1, self.cutout))
        return augment.cutout(images, across, down, side, fill=0.5)
