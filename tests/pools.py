"""Pools of vectors for tests of selectors."""

from dataclasses import replace

import numpy as np

from pipeline.select.neighbours import Search
from pipeline.select.pool import Outputs, Pool

SEARCH = Search(memory_mb=256, exact_most=100_000, recall=0.95, probes=64)


def cloud(n: int, d: int = 5, seed: int = 0) -> np.ndarray:
    """Unit vectors in all directions."""
    x = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def pool(x: np.ndarray, labelled: tuple[int, ...] = (), barred: tuple[int, ...] = (), search: Search = SEARCH) -> Pool:
    """A pool of the rows of x, with the outputs of a linear model of four classes on them."""
    made = Pool.of(x, search, np.array(labelled, np.int64))
    made.barred[list(barred)] = True
    scale = float(np.abs(x).max()) or 1.0
    features = (x / np.float32(scale)).astype(np.float32)
    weight = np.random.default_rng(7).normal(size=(4, x.shape[1])).astype(np.float32)
    return replace(made, outputs=Outputs(features, weight, np.zeros(4, np.float32)))
