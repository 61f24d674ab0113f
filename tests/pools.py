"""Pools of vectors, selectors and models for tests of selectors."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.base.params import Params
from pipeline.select.methods import SELECTORS
from pipeline.select.pool import Outputs, Pool
from pipeline.select.selector import Selector
from pipeline.vectors.neighbours import Search
from tests.imports import ROOT

SEARCH = Search(memory_mb=256, exact_most=100_000, recall=0.95, probes=64)
PARAMS = Params.read(ROOT / "params.yaml")
LABELLED_AND_BARRED = [((), ()), ((3, 30), ()), ((3, 30), tuple(range(10, 25)))]


def cloud(n: int, d: int = 5, seed: int = 0) -> np.ndarray:
    """Unit vectors in all directions."""
    x = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def outputs(n: int = 60, f: int = 5, c: int = 4, scale: float = 3.0, seed: int = 0) -> Outputs:
    """Features and the linear layer of a model of chance."""
    rng = np.random.default_rng(seed)
    parts = (rng.normal(size=(n, f)), scale * rng.normal(size=(c, f)), rng.normal(size=c))
    return Outputs(*(part.astype(np.float32) for part in parts))


def lists(made: Outputs) -> tuple[list, list, list]:
    """A model's outputs as the oracles take them."""
    return made.features.tolist(), made.weight.tolist(), made.bias.tolist()


def pool(x: np.ndarray, labelled: tuple[int, ...] = (), barred: tuple[int, ...] = (), search: Search = SEARCH) -> Pool:
    """A pool of the rows of x, with the outputs of a linear model of four classes on them."""
    made = Pool.of(x, search, np.array(labelled, np.int64))
    made.barred[list(barred)] = True
    scale = float(np.abs(x).max()) or 1.0
    features = (x / np.float32(scale)).astype(np.float32)
    weight = np.random.default_rng(7).normal(size=(4, x.shape[1])).astype(np.float32)
    return replace(made, outputs=Outputs(features, weight, np.zeros(4, np.float32)))


def selector(name: str, **changes: object) -> Selector:
    """A selector with the values of params.yaml, which is what users run, but for some."""
    return SELECTORS[name].model_validate({**PARAMS.lookup(f"select.{name}"), **changes})


def peak_bytes(call: Callable[[], object]) -> int:
    """What a call takes in memory at most, beyond what is there."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
