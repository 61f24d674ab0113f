"""One seed, and from it a named stream for each use of random numbers.

A stream depends on the seed and its names alone. So a new use changes no old one, and the numbers of step t do not need
those of the steps before: an interrupted run ends in the same bytes.
"""

import hashlib

import numpy as np


def number(seed: int, *names: str | int) -> int:
    """A 63-bit number from the seed and the names, to seed libraries with random generators of their own."""
    text = repr((seed, *names)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for one use, e.g. `stream(seed, "select", "kmeans")`."""
    return np.random.default_rng(number(seed, *names))
