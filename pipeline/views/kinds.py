"""Kinds of view. Each is a params block that turns a batch of uint8 images into floats in [0, 1].

Each image has random parameters of its own. They come from `chance` alone, in a fixed order and number, so a view is a
function of (images, chance).
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from pydantic import Field, model_validator
from torch import Tensor

from pipeline.base.errors import ParamsError
from pipeline.base.params import Block
from pipeline.views import augment
from pipeline.views.chance import UNIT, Chance
from pipeline.views.matrices import (
    LUMA,
    Affine,
    PerImage,
    affine_matrix,
    colour_matrix,
    crop_matrix,
    flip_matrix,
    saturation_matrix,
    stain_matrix,
)

LEAST_SIDE = 2  # pixels of a small view
LOG_ASPECT = (math.log(3 / 4), math.log(4 / 3))  # of a crop's width to its height; Szegedy et al. 2015
BLUR_SIGMA = (0.1, 2)  # pixels, least and most; SimCLR, appendix A
SOLARIZE = np.float32(0.5)  # threshold; BYOL, appendix B
NEVER = np.float32(2)  # a threshold that no pixel reaches
POSTERIZE_BITS = (4, 8)  # least and most; RandAugment
EXACT_BITS = 20.0  # of an image that is not posterized: rounded by less than a millionth
UNCHANGED = np.array([1, 1, 1, 0], np.float32)  # brightness, contrast, saturation and turns of hue
NOT_MOVED = (0.0,) * 5  # the angle, the shears and the shifts of an image that stays
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
    flipped: Bool[ndarray, " b"]

    def matrix(self) -> Affine:
        """The maps for `augment.warp`; the images are square."""
        return flip_matrix(crop_matrix(self.area, self.log_ratio, self.across, self.down), self.flipped)

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
    """SimCLR's and MoCo v2's view: a crop resized to the whole, flip, colour jitter, loss of colour, blur, solarize.

    On CIFAR-10 PAWS equalizes as the last step. Images of tissue have no upright position and vary in their stains, so
    quarter turns, vertical flips and a jitter of the stains can come first. The amount of each stain is multiplied by
    1 +- `stain` and moved by +- `stain`, in units of optical density -ln (Tellez et al. 2018). With both flips and
    `turn_prob` at 0.5 all eight positions of an image come equally often. Departure: a crop whose sides would leave the
    image is made to fit; torchvision draws again, so its crops are larger in the mean (from 0.08 to 1: an area of 0.53
    against 0.48).
    """

    crop_min: float = Field(gt=0, le=1)  # least and most share of the image's area
    crop_max: float = Field(gt=0, le=1)
    flip: float = Field(ge=0, le=1)  # probability of exchanging left and right
    flip_down: float = Field(ge=0, le=1)  # probability of exchanging top and bottom
    turn_prob: float = Field(ge=0, le=1)  # probability of a quarter turn, of square images
    stain: float = Field(ge=0, le=1)  # of haematoxylin, eosin and DAB in RGB, +- this; 0: none
    jitter_prob: float = Field(ge=0, le=1)  # probability that the next four act
    brightness: float = Field(ge=0, le=1)  # factors are drawn from 1 +- this
    contrast: float = Field(ge=0, le=1)
    saturation: float = Field(ge=0, le=1)
    hue: float = Field(ge=0, le=0.5)  # in turns, +- this
    grey_prob: float = Field(ge=0, le=1)  # probability of losing all colour
    blur_prob: float = Field(ge=0, le=1)  # probability
    solarize_prob: float = Field(ge=0, le=1)  # probability of inverting the bright half, as BYOL does
    equalize_prob: float = Field(ge=0, le=1)  # probability of spreading each channel's values evenly, as PAWS does

    @model_validator(mode="after")
    def _range(self) -> "ContrastiveView":
        if self.crop_min > self.crop_max:
            raise ValueError(f"crop_min of at most crop_max, {self.crop_max}")
        return self

    def __call__(self, images: Pixels, chance: Chance, size: tuple[int, int] | None = None) -> View:
        """One view of each image, of its size or of `size`."""
        cropped = augment.warp(images.float().div_(255), self.crops(len(images), chance).matrix(), size)
        return self.photometric(cropped, chance)

    def crops(self, count: int, chance: Chance) -> Crops:
        """The first half of a view: where it lies."""
        drawn = chance.uniform(count, (self.crop_min, self.crop_max), LOG_ASPECT, UNIT, UNIT, UNIT)
        area, log_ratio, across, down, flip = drawn.T
        return Crops(area, log_ratio, across, down, flip < self.flip)

    def photometric(self, images: View, chance: Chance) -> View:
        """The second half: what happens to the cropped images, on their device.

        Raises ParamsError for quarter turns of images that are not square, and for stains of other channels than three.
        """
        b, channels, h, w = images.shape
        if self.turn_prob > 0 or self.flip_down > 0:
            # Both flips come before the turn: flips on either side of it would give some positions twice, others never.
            down, turned = chance.uniform(b, UNIT, UNIT).T
            images = augment.upside_down(images, down < self.flip_down)
            if self.turn_prob > 0:
                if h != w:
                    raise ParamsError(f"view.turn_prob: expected 0 for images of {h} x {w}, got {self.turn_prob}")
                images = augment.turned(images, turned < self.turn_prob)
        if self.stain > 0:
            if channels != len(LUMA):
                raise ParamsError(f"view.stain: expected 0 unless images are RGB (ingest.mode: rgb), got {self.stain}")
            limits = [(1 - self.stain, 1 + self.stain)] * channels + [(-self.stain, self.stain)] * channels
            images = augment.stain(images, *stain_matrix(*np.split(chance.uniform(b, *limits), 2, axis=1)))
        around = [(1 - limit, 1 + limit) for limit in (self.brightness, self.contrast, self.saturation)]
        drawn = chance.uniform(b, UNIT, *around, (-self.hue, self.hue), UNIT, UNIT, BLUR_SIGMA, UNIT)
        jittered, *colours, grey, blurred, sigma, solarized = drawn.T
        jitter = zip(colours, UNCHANGED, strict=True)
        brightness, *others = (np.where(jittered < self.jitter_prob, factor, neutral) for factor, neutral in jitter)
        images = augment.brightness(images, brightness)
        matrix, mean_share = colour_matrix(channels, *others)
        matrix = saturation_matrix(channels, (grey >= self.grey_prob).astype(np.float32)) @ matrix
        images = augment.colour(images, matrix, mean_share)
        if self.blur_prob > 0:
            images = augment.blur(images, sigma * (blurred < self.blur_prob))
        if self.solarize_prob > 0:
            images = augment.solarize(images, np.where(solarized < self.solarize_prob, SOLARIZE, NEVER))
        if self.equalize_prob > 0:
            images = augment.equalize(images, chance.uniform(b, UNIT)[:, 0] < self.equalize_prob)
        return images


class LocalCrops(Block):
    """SwAV's multi-crop: small views of small parts, beside the two large ones."""

    count: int = Field(ge=0)
    side: float = Field(gt=0, le=1)  # of the view, as a share of the image's
    crop_min: float = Field(gt=0, le=1)
    crop_max: float = Field(gt=0, le=1)

    def view(self, large: ContrastiveView) -> ContrastiveView:
        """The large view with the small one's share of the area."""
        return large.model_copy(update={"crop_min": self.crop_min, "crop_max": self.crop_max})

    def size(self, size: tuple[int, int], block: str) -> tuple[int, int]:
        """(height, width) in pixels of the small views of images of a size.

        Raises ParamsError below 2 pixels; `block` is where in params.yaml these values stand.
        """
        return part_of(size, self.side, f"{block}.side")


def part_of(size: tuple[int, int], share: float, name: str) -> tuple[int, int]:
    """The sides in pixels of a part of an image, which are this share of the image's.

    Raises ParamsError below 2 pixels; `name` is the share's in params.yaml.
    """
    small = round(size[0] * share), round(size[1] * share)
    if min(small) < LEAST_SIDE:
        raise ParamsError(
            f"{name}: expected at least {LEAST_SIDE / min(size):.3f} for images of {size[0]} x {size[1]}, {LEAST_SIDE} "
            f"pixels, got {share}"
        )
    return small


class WeakView(Block):
    """FixMatch's weak view: flip and a small shift."""

    flip: float = Field(ge=0, le=1)  # probability
    shift: float = Field(ge=0, lt=1)  # largest shift, as a share of the side

    def __call__(self, images: Pixels, chance: Chance) -> View:
        b, _, h, w = images.shape
        # Whole pixels, each as likely, so that nothing is blurred: a half-side is h / 2 pixels.
        most = [math.floor(self.shift * side) + 0.5 for side in (w, h)]
        drawn = chance.uniform(b, *((-limit, limit) for limit in most), UNIT)
        across, down, flip = drawn.T
        zero = np.zeros(b, np.float32)
        matrix = affine_matrix(zero, zero, zero, across.round() * 2 / w, down.round() * 2 / h)
        return augment.warp(images.float().div_(255), flip_matrix(matrix, flip < self.flip))


class StrongView(Block):
    """FixMatch's strong view: RandAugment and Cutout, drawn for a whole batch at once.

    Departures: RandAugment applies 2 operations out of 14; here each of rotation, two shears, two shifts, brightness,
    contrast, saturation (RGB), solarize and posterize acts with probability `op_prob`, and all geometric ones together
    are one bilinear pass. Equalize, autocontrast and sharpness are left out, and there is no weak shift beneath. What
    lies beyond the border is mirrored; USB fills it with one colour. USB's shifts reach .3, and its colour factors are
    drawn from .05 to .95, so that they only darken, grey and flatten.
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
        limits = math.radians(self.rotate), self.shear, self.shear, 2 * self.shift, 2 * self.shift
        colours = [(1 - self.colour, 1 + self.colour)] * 3
        ranges = [*((-limit, limit) for limit in limits), *colours, UNIT, POSTERIZE_BITS]
        drawn = chance.uniform(b, *[UNIT] * len(ranges), *ranges, UNIT, UNIT, UNIT, (0, self.cutout))
        acts, values, rest = np.split(drawn, [len(ranges), 2 * len(ranges)], axis=1)
        neutral = np.array([*NOT_MOVED, *UNCHANGED[:3], NEVER, EXACT_BITS], np.float32)
        *moves, brightness, contrast, saturation, threshold, bits = np.where(acts < self.op_prob, values, neutral).T
        flip, across, down, side = rest.T
        view = augment.warp(images.float().div_(255), flip_matrix(affine_matrix(*moves), flip < self.flip))
        view = augment.brightness(view, brightness)
        view = augment.colour(view, *colour_matrix(channels, contrast, saturation))
        if self.solarize:
            view = augment.solarize(view, threshold)
        if self.posterize:
            view = augment.posterize(view, np.exp2(bits.round()))
        return augment.cutout(view, across, down, side, fill=GREY)
