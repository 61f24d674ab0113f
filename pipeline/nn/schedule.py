"""Values that change over a run, as functions of its progress in [0, 1]."""

import math


def cosine(start: float, end: float, progress: float) -> float:
    """From `start` to `end` along half a cosine: flat at both ends."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
