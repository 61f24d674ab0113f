"""The teacher as a moving average of a student: theta_teacher <- momentum * theta_teacher + (1 - momentum) * theta."""

import copy
import math
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def frozen_copy(student: M) -> M:
    """The teacher at the start: a copy of the student that gets no gradient."""
    return copy.deepcopy(student).requires_grad_(requires_grad=False)


@torch.no_grad()
def update(teacher: nn.Module, student: nn.Module, momentum: float, *, buffers: bool) -> None:
    """One step of the moving average over the parameters, in place; `momentum`, in [0, 1], weighs the old value.

    With `buffers`, batch norm's running statistics are averaged too: a teacher in eval mode needs them. A teacher that
    runs in train mode keeps its own.
    """
    pairs = list(zip(teacher.parameters(), student.parameters(), strict=True))
    if buffers:
        pairs += [(t, s) for t, s in zip(teacher.buffers(), student.buffers(), strict=True) if t.is_floating_point()]
    torch._foreach_lerp_([t for t, _ in pairs], [s for _, s in pairs], 1 - momentum)


def cosine_update(teacher: nn.Module, student: nn.Module, start: float, end: float, progress: float) -> None:
    """`update` without buffers, by the momentum that goes from `start` to `end` along half a cosine."""
    update(teacher, student, cosine_momentum(start, end, progress), buffers=False)


def warm_momentum(momentum: float, step: int) -> float:
    """`momentum`, but never a longer memory than the steps done so far: min(momentum, (1 + step) / (10 + step))."""
    return min(momentum, (1 + step) / (10 + step))


def cosine_momentum(start: float, end: float, progress: float) -> float:
    """From `start` to `end` along half a cosine, flat at both ends (Grill et al. 2020); `progress` is in [0, 1]."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
