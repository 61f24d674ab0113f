"""A loss beside the same in loops, and tensors to try both on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from tests.pretrain.family import unit


@dataclass(frozen=True)
class Case:
    """A loss of some tensors, the same of lists, and the tensors, of which the first `moved` get a gradient."""

    loss: Callable[..., torch.Tensor]
    oracle: Callable[..., float]
    inputs: Sequence[torch.Tensor]
    moved: int
    rel: float = 1e-9


def some(seed, n=5, d=4):
    return 3 * torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + 1


def projections(*counts):
    return [F.normalize(unit(n, 4, seed=seed).double(), dim=1) for seed, n in enumerate(counts)]
