"""Sariyildiz et al. 2023, one number at a time."""

import math

from tests.oracles.proxynca import unit


def class_vectors(rows, labels, classes):
    """The unit sum of the rows of each class; zeros where it has none."""
    vectors = []
    for c in range(classes):
        own = [row for row, label in zip(rows, labels, strict=True) if label == c]
        sums = [sum(row[i] for row in own) for i in range(len(rows[0]))]
        vectors.append(unit(sums) if own else sums)
    return vectors


def loss(crops, labels, vectors, temperature):
    """The mean over the crops of -log of the share of exp(cosine / temperature) that the right class has."""
    total = 0.0
    for z, label in zip(crops, labels, strict=True):
        scores = [math.exp(sum(a * b for a, b in zip(unit(z), v, strict=True)) / temperature) for v in vectors]
        total -= math.log(scores[label] / sum(scores))
    return total / len(labels)
