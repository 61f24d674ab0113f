"""Kinds of view, each a params block that turns a uint8 batch into floats in [0, 1], drawing anew for each image.

The draws come from the generator alone, in a fixed order and number, so a view is a function of (images, generator).
"""

import math

import torch
from jaxtyping import Float, UInt8
from pydantic import Field
from torch import Generator, Tensor

from pipeline.data import augment
from pipeline.data.augment import uniform
from pipeline.params import Block

Raw = UInt8[Tensor, "b c h w"]
View = Float[Tensor, "b c h w"]


class ContrastiveView(Block):
    """SimCLR's and MoCo v2's view: a crop resized to the whole, flip, colour jitter, loss of colour, blur."""

    crop_min: float = Field(gt=0, le=1)  # least share of the area; the most is all of it
    flip: float = Field(ge=0, le=1)  # this and the next *_prob: probabilities
    jitter_prob: float = Field(ge=0, le=1)
    brightness: float = Field(ge=0, le=1)  # factors are drawn from 1 +- this
    contrast: float = Field(ge=0, le=1)
    saturation: float = Field(ge=0, le=1)
    hue: float = Field(ge=0, le=0.5)  # in turns, +- this
    grey_prob: float = Field(ge=0, le=1)
    blur_prob: float = Field(ge=0, le=1)

    def __call__(self, raw: Raw, chance: Generator) -> View:
        """One view of each image."""
        b, channels = raw.shape[:2]
        matrix = augment.crop_matrix(
            uniform(b, self.crop_min, 1, chance),
            uniform(b, math.log(3 / 4), math.log(4 / 3), chance),
            uniform(b, 0, 1, chance),
            uniform(b, 0, 1, chance),
        )
        flipped = uniform(b, 0, 1, chance) < self.flip
        images = augment.warp(raw.float() / 255, augment.flip_matrix(matrix, flipped))
        jittered = uniform(b, 0, 1, chance) < self.jitter_prob

        def factor(reach: float, neutral: float) -> Float[Tensor, " b"]:
            return torch.where(jittered, uniform(b, neutral - reach, neutral + reach, chance), neutral)

        images = augment.brightness(images, factor(self.brightness, 1))
        images = augment.contrast(images, factor(self.contrast, 1))
        if channels == 3:
            images = augment.saturation(images, factor(self.saturation, 1))
            images = augment.hue(images, factor(self.hue, 0))
            images = augment.saturation(images, (uniform(b, 0, 1, chance) >= self.grey_prob).float())
        if self.blur_prob > 0:
            blurred = uniform(b, 0, 1, chance) < self.blur_prob
            images = augment.blur(images, uniform(b, 0.1, 2, chance) * blurred)
        return images


class WeakView(Block):
    """FixMatch's weak view: flip and a small shift."""

    flip: float = Field(ge=0, le=1)  # probability
    shift: float = Field(ge=0, lt=1)  # largest shift as a share of the side; 0.125 in the paper

    def __call__(self, raw: Raw, chance: Generator) -> View:
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

    def __call__(self, raw: Raw, chance: Generator) -> View:
        """One view of each image."""
        b, channels = raw.shape[:2]

        def drawn(low: float, high: float, neutral: float) -> Float[Tensor, " b"]:
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
