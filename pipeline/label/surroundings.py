"""What lies around a pick: the images nearest to it, to look at, and the picks most like it, to guess from."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray

from pipeline.artifacts.neighbours import Neighbours
from pipeline.vectors.rows import blocks

SHOWN, PICTURES = 4, 1600  # images beside a pick, and in the whole page, at most
ALIKE = 10  # picks that a pick is guessed from, at most
SHARPNESS = 20.0  # exp(-20): the weight of a pick at a right angle


def beside(neighbours: Neighbours, rows: Int64[ndarray, " m"]) -> list[list[int]]:
    """The rows of the images nearest to each of these, nearest first: fewer of each where there are many picks."""
    count = min(SHOWN, PICTURES // max(len(rows), 1))
    return [[int(row) for row in nearest if row >= 0] for nearest in neighbours.rows[rows, :count]]


def like(x: Float32[ndarray, "m d"]) -> list[Sequence[tuple[int, float]]]:
    """For each unit vector the places of the others most like it, and weights for a vote.

    On digits, emoji and Fashion-MNIST such a vote of the picks labelled so far is right 38 to 88 % of the time, where
    labels spread through the whole graph are in 38 to 92 %.
    """
    found: list[Sequence[tuple[int, float]]] = []
    for part in blocks(len(x), len(x) + 1):
        cosine = x[part] @ x.T
        cosine[np.arange(len(cosine)), np.arange(len(x))[part]] = -2  # itself
        nearest = np.argsort(-cosine, axis=1, kind="stable")[:, : min(ALIKE, len(x) - 1)]
        weight = np.exp(SHARPNESS * (np.take_along_axis(cosine, nearest, axis=1) - 1))
        found += [[*zip(*pair, strict=True)] for pair in zip(nearest.tolist(), weight.round(6).tolist(), strict=True)]
    return found
