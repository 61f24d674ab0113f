"""Bardes et al. 2022, eq. 1 to 6 with the weights' places of the authors' code, one pair of features at a time."""

import math


def vicreg(z1, z2, invariance, variance, covariance):
    n, d = len(z1), len(z1[0])
    total = (
        invariance * sum((a - b) ** 2 for x, y in zip(z1, z2, strict=True) for a, b in zip(x, y, strict=True)) / n / d
    )
    for z in (z1, z2):
        means = [sum(row[j] for row in z) / n for j in range(d)]
        for i in range(d):
            for j in range(d):
                c = sum((row[i] - means[i]) * (row[j] - means[j]) for row in z) / (n - 1)
                if i == j:
                    total += variance * max(0.0, 1 - math.sqrt(c + 1e-4)) / d / 2
                else:
                    total += covariance * c**2 / d
    return total
