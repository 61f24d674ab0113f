"""Quarter turns of images, and the loss of who must tell them apart: rotation, S4L."""

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.nn.primitives import class_ce

TURNS = 4  # of 90 degrees each: none to three


def turned(images: Float[Tensor, "b c s s"]) -> Float[Tensor, "4 b c s s"]:
    """The images, which are square, after no, one, two and three quarter turns.

    Pixels are exchanged, not sampled anew: borders that a warp would leave tell the answer.
    """
    return torch.stack([images.rot90(turns, (2, 3)) for turns in range(TURNS)])


def rotation_loss(logits: Float[Tensor, "4 b 4"]) -> Float[Tensor, ""]:
    """Cross-entropy of the right number of turns, mean over the turns and the batch; log 4 where all logits are equal.

    logits[t] are those of the images after t quarter turns.
    """
    turns = torch.arange(TURNS, device=logits.device).repeat_interleave(logits.shape[1])
    return class_ce(logits.flatten(0, 1), turns)
