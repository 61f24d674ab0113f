"""Images and their targets mixed in pairs, also across processes."""

from collections.abc import Sequence
from itertools import accumulate

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from pipeline.parallel import dist


def mixed(
    x: Float[Tensor, " n *s"], others: Float[Tensor, " n *s"], share: Float[Tensor, " n"]
) -> Float[Tensor, " n *s"]:
    """Share * x + (1 - share) * others, row by row (Zhang et al. 2018, "mixup", eq. 1)."""
    return torch.lerp(others, x, share.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1)))


def of_all_processes(parts: Sequence[Shaped[Tensor, " _ *s"]]) -> Shaped[Tensor, " m *s"]:
    """All processes' first parts, then their second parts and so on, as one process would have them."""
    return torch.cat([dist.gather(part) for part in parts])


def places(sizes: Sequence[int]) -> Int64[Tensor, " n"]:
    """Where the rows of this process's parts, of these sizes, stand among those of all."""
    starts = accumulate([size * dist.world() for size in sizes], initial=0)
    return torch.cat(
        [start + dist.rank() * size + torch.arange(size) for start, size in zip(starts, sizes, strict=False)]
    )
