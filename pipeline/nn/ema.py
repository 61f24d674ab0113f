"""The slow copy of a network: theta_slow <- keep * theta_slow + (1 - keep) * theta."""

import torch
from torch import nn


@torch.no_grad()
def update(slow: nn.Module, fast: nn.Module, keep: float, *, buffers: bool) -> None:
    """One step of the moving average over the parameters, in place; `keep` in [0, 1] is the share of the old value.

    With `buffers`, batch norm's running statistics are averaged too: a slow copy that is used in eval mode needs them.
    A teacher that runs in train mode keeps its own.
    """
    pairs = list(zip(slow.parameters(), fast.parameters(), strict=True))
    if buffers:
        pairs += [(s, f) for s, f in zip(slow.buffers(), fast.buffers(), strict=True) if s.is_floating_point()]
    torch._foreach_lerp_([s for s, _ in pairs], [f for _, f in pairs], 1 - keep)


def warm_keep(keep: float, step: int) -> float:
    """`keep`, but never a longer memory than the steps done so far: min(keep, (1 + step) / (10 + step))."""
    return min(keep, (1 + step) / (10 + step))
