"""Sinkhorn: scores turned into soft assignments that give every prototype the same share of the samples.

Cuturi 2013, "Sinkhorn distances", in the form of Caron et al. 2020 (SwAV), eq. 3 to 5.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.nn.primitives import in_float32


@in_float32
@torch.no_grad()
def sinkhorn(scores: Float[Tensor, "n k"], epsilon: float, iterations: int) -> Float[Tensor, "n k"]:
    """Codes exp(scores / epsilon), scaled in turn so that each prototype's sum is n / k and each sample's is 1.

    The samples come last: their rows sum to 1 exactly, the columns to n / k only in the limit. No gradient passes. Any
    finite scores / epsilon will do.
    """
    # The first round in logarithms. After it no sum can vanish any more: a row sums to 1 and holds an entry of at least
    # 1 / k, and a column's sum is at least 1 / k too, since what a row was divided by is at most k.
    codes = (scores / epsilon).log_softmax(dim=0).softmax(dim=1)
    for _ in range(iterations - 1):
        codes /= codes.sum(dim=0)
        codes /= codes.sum(dim=1, keepdim=True)
    return codes
