"""Rows in blocks of bounded memory, or a sample of them."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

BLOCK_NUMBERS = 1 << 22  # numbers in memory at a time: 16 MB as float32
CACHED_NUMBERS = 1 << 20  # numbers that the processor's caches hold


def spans(n: int, step: int) -> Iterator[slice]:
    """The slices of at most `step` rows, one at least, that make up n rows."""
    step = max(1, step)
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


def blocks(n: int, width: int, numbers: int | None = None) -> Iterator[slice]:
    """The slices that make up n rows of so many numbers each, `BLOCK_NUMBERS` at most in a slice or as many as told."""
    return spans(n, (numbers or BLOCK_NUMBERS) // width)


def sample(n: int, most: int, chance: np.random.Generator) -> Int64[ndarray, " m"]:
    """All n rows, or `most` of them drawn at random if there are more, in ascending order."""
    return np.arange(n) if n <= most else np.sort(chance.choice(n, most, replace=False))
