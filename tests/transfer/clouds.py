"""Vectors whose classes are known."""

import numpy as np

from pipeline.transfer.measures import Vectors, validation_part


def clouds(n=40, classes=3, spread=0.5, seed=0):
    """Unit vectors round one axis for each class, n to train and n to test of each class."""
    chance = np.random.default_rng(seed)
    y = np.repeat(np.arange(classes), n)

    def part():
        x = np.eye(8)[y] + chance.normal(0, spread, (len(y), 8))
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

    return Vectors(part(), y, part(), y, validation_part(y, 0))
