"""A view that does nothing, images and parameters for the tests of views."""

import numpy as np
import torch

from pipeline.views.chance import Chance
from pipeline.views.kinds import ContrastiveView

NEUTRAL = ContrastiveView(
    crop_min=1.0, flip=0.0, jitter_prob=0.0, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, grey_prob=0.0,
    blur_prob=0.0, crop_max=1.0, solarize_prob=0.0, equalize_prob=0.0, flip_down=0.0, turn_prob=0.0, stain=0.0,
)  # fmt: skip


def each(*values):
    """A parameter of each image."""
    return np.array(values, np.float32)


def chance(seed=0):
    return Chance(seed)


def raw(b=6, c=3, h=12, w=10):
    return torch.randint(0, 256, (b, c, h, w), generator=torch.Generator().manual_seed(9), dtype=torch.uint8)
