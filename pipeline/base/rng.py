"""One seed, and from it a named stream for each use of chance.

A stream depends on the seed and its own names alone, so a new use of chance moves no old one, and the chance of step t
can be had without that of the steps before it: that is what makes an interrupted run end in the same bytes.
"""

import hashlib

import numpy as np


def number(seed: int, *names: str | int) -> int:
    """A 63-bit number that is a function of the seed and the names; seeds libraries that keep their own chance."""
    text = repr((seed, *names)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for one use, e.g. `stream(seed, "select", "kmeans")`."""
    return np.random.default_rng(number(seed, *names))
