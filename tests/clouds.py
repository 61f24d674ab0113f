"""Clouds of vectors in a few classes, and their graph."""

import numpy as np
import torch

from pipeline.base import rng
from pipeline.graph.affinity import Affinity
from pipeline.graph.run import nearest_others
from pipeline.vectors.geometry import unit
from pipeline.vectors.neighbours import Search

CPU = torch.device("cpu")
SEARCH = Search(memory_mb=1000, exact_most=100_000, recall=0.95, probes=64)


def clouds(n=120, classes=3, dim=8, seed=0, noise=0.9):
    """Unit vectors around a centre for each class, and the classes."""
    chance = rng.stream(seed, "clouds")
    y = np.arange(n) % classes
    return unit((chance.normal(0, 1, (classes, dim))[y] + chance.normal(0, noise, (n, dim))).astype(np.float32)), y


def affinity(x, k=6):
    return Affinity.of(nearest_others(x, k, SEARCH)[0], CPU)


def labelled(y, count, seed=0):
    rows = np.sort(rng.stream(seed, "labelled").choice(len(y), count, replace=False))
    return torch.from_numpy(rows), torch.from_numpy(y[rows].astype(np.int64))
