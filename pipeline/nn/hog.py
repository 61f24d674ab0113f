"""Histograms of oriented gradients (Dalal and Triggs 2005) of small grey images: where edges of which direction lie."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

SIDE = 32  # pixels that an image is pooled to, at most
ORIENTATIONS = 9  # of half a turn: dark on light is light on dark
CELLS = 4  # on a side
LEAST = 1e-4  # of a block's length, in mean gradients: below, a block is nearly flat and stays short


def hog(images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b r"]:
    """Of each block of 2 x 2 cells the gradients' sums by orientation, made unit length; zeros of a flat image.

    `images` are in [0, 1]. Gradients are central differences, 0 at the border. Each votes by its length for the two
    nearest orientations, in proportion to its nearness, so that rounding moves no vote from one to the other.
    """
    grey = images.mean(dim=1, keepdim=True)
    grey = F.adaptive_avg_pool2d(grey, (min(SIDE, grey.shape[2]), min(SIDE, grey.shape[3])))
    down, right = torch.zeros_like(grey), torch.zeros_like(grey)
    down[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    right[..., 1:-1] = grey[..., 2:] - grey[..., :-2]
    turn = torch.atan2(down, right).remainder(math.pi) * (ORIENTATIONS / math.pi)
    apart = (turn - torch.arange(ORIENTATIONS, device=grey.device).reshape(-1, 1, 1)).abs()
    votes = (down.square() + right.square()).sqrt() * (1 - torch.minimum(apart, ORIENTATIONS - apart)).clamp(min=0)
    cells = F.adaptive_avg_pool2d(votes, (min(CELLS, grey.shape[2]), min(CELLS, grey.shape[3])))
    blocks = F.unfold(cells, (min(2, cells.shape[2]), min(2, cells.shape[3])))
    return (blocks / (blocks.norm(dim=1, keepdim=True) + LEAST)).flatten(1)
