"""Chen et al. 2023, one number at a time."""

import math

from tests.oracles.algebra import softmax


def aligned(p, before, momentum):
    """Uniform alignment of all rows, and the moving mean prediction; the goal of each class is 1 / k."""
    k = len(p[0])
    mean = [momentum * before[c] + (1 - momentum) * sum(row[c] for row in p) / len(p) for c in range(k)]
    rows = [[row[c] / k / mean[c] for c in range(k)] for row in p]
    return [[value / sum(row) for value in row] for row in rows], mean


def loss(weak, strong, before, momentum, n_sigma):
    """The unlabelled loss, the mean weight, and (mean prediction, mu, variance), which were `before`."""
    p = [softmax(row) for row in weak]
    u = len(p)
    moved, mean = aligned(p, before[0], momentum)
    confidence = [max(row) for row in moved]
    centre = sum(confidence) / u
    spread = sum((value - centre) ** 2 for value in confidence) / (u - 1)
    mu = momentum * before[1] + (1 - momentum) * centre
    var = momentum * before[2] + (1 - momentum) * spread
    total, weights = 0.0, 0.0
    for row, s, value in zip(p, strong, confidence, strict=True):
        weight = 1.0 if value >= mu else math.exp(-((value - mu) ** 2) / (2 * var / n_sigma**2))
        weights += weight
        total -= weight * math.log(softmax(s)[row.index(max(row))])
    return total / u, weights / u, (mean, mu, var)
