"""Predictions made more confident, as in MixMatch (Berthelot et al. 2019, eq. 7) and PAWS (Assran et al. 2021)."""

import torch
from jaxtyping import Float
from torch import Tensor


def sharpen(p: Float[Tensor, "*b k"], temperature: float) -> Float[Tensor, "*b k"]:
    """p^(1 / temperature) brought back to sum 1: p itself at 1, its largest entry alone as the temperature goes to 0.

    By logarithms, so that no temperature is too low.
    """
    return (p.clamp(min=torch.finfo(p.dtype).tiny).log() / temperature).softmax(dim=-1)
