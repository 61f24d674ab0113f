"""Probes of frozen vectors: nearest neighbours, and a linear classifier fitted on few labels.

The linear probe is fitted on the picks and on random draws of the same size: their difference is what the selection
bought, free of the chance of training a network.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from numpy import ndarray

from pipeline.base import rng
from pipeline.evaluate.accuracy import covered, top1
from pipeline.graph import probe

BLOCK = 1 << 26  # similarities held at a time: 256 MB


@torch.no_grad()
def nearest_vote(
    x: Float32[ndarray, "n d"], y: Int64[ndarray, " n"], queries: Float32[ndarray, "q d"], neighbours: int
) -> Int64[ndarray, " q"]:
    """For each query the class most common among its most similar rows of x by dot product; all are unit vectors.

    Of classes with equally many votes, the one whose votes are the more similar; n may be smaller than `neighbours`.
    """
    base, classes, k = torch.from_numpy(x).T.contiguous(), torch.from_numpy(y), int(y.max()) + 1
    neighbours = min(neighbours, len(x))
    rows = max(1, BLOCK // len(x))
    winners = []
    for part in torch.from_numpy(queries).split(rows):
        similar, row = (part @ base).topk(neighbours, dim=1)
        # Less than one vote in all, so that similarity decides between equal counts and nothing else.
        extra = (1 + similar.clamp(-1, 1)) / (2 * neighbours + 1)
        votes = torch.zeros(len(part), k, dtype=torch.float64).scatter_add_(1, classes[row], 1.0 + extra.double())
        winners.append(votes.argmax(dim=1))
    return torch.cat(winners).numpy()


def linear_probe(
    x: Float32[ndarray, "b d"], y: Int64[ndarray, " b"], queries: Float32[ndarray, "q d"]
) -> Int64[ndarray, " q"]:
    """The classes that a logistic regression fitted on (x, y) gives to the queries; of one class only, that class."""
    weight, bias = probe.fit(x, y, int(y.max()) + 1)
    return (queries.astype(np.float64) @ weight.T + bias).argmax(axis=1)


@dataclass(frozen=True)
class Draw:
    """One random draw of training images, labelled: the probe's accuracy, and how many classes the draw covers."""

    top1: float
    classes_covered: int


def drawn(n: int, size: int, seed: int, number: int) -> Int64[ndarray, " b"]:
    """The rows of a random draw of `size` of n images, without replacement."""
    return rng.stream(seed, "evaluate", "draw", number).choice(n, size, replace=False)


def random_draws(
    x: Float32[ndarray, "n d"],
    y: Int64[ndarray, " n"],
    queries: Float32[ndarray, "q d"],
    answers: Int64[ndarray, " q"],
    *,
    size: int,
    draws: int,
    seed: int,
) -> list[Draw]:
    """The linear probe fitted on random draws of `size` of the n images, without replacement; every draw is kept."""
    kept = []
    for i in range(draws):
        rows = drawn(len(x), size, seed, i)
        kept.append(Draw(top1(answers, linear_probe(x[rows], y[rows], queries)), covered(y[rows])))
    return kept
