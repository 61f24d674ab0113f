"""Teh et al. 2020, one number at a time."""

import math


def unit(x):
    length = math.sqrt(sum(a * a for a in x))
    return [a / length for a in x]


def layer_norm(x):
    mean = sum(x) / len(x)
    deviation = math.sqrt(sum((a - mean) ** 2 for a in x) / len(x) + 1e-5)
    return [(a - mean) / deviation for a in x]


def loss(embeddings, proxies, labels, scale):
    """The mean of -log of the share of exp(-scale^2 |x - p|^2) that the proxy of the image's class has."""
    total = 0.0
    for x, label in zip(embeddings, labels, strict=True):
        nearness = [
            math.exp(-(scale**2) * sum((a - b) ** 2 for a, b in zip(unit(x), unit(p), strict=True))) for p in proxies
        ]
        total -= math.log(nearness[label] / sum(nearness))
    return total / len(labels)
