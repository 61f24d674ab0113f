"""Lee et al. 2022: the fixed point in the paper's own v, one number at a time; and what it makes least."""

import math

from tests.oracles.algebra import dot, softmax


def targets(k, prototypes, temperature, beta, iterations):
    n, m = len(k), len(prototypes)
    s = [softmax([dot(row, c) / temperature / (1 - beta) for c in prototypes]) for row in k]
    v = [(sum(s[i][j] for i in range(n)) / n) ** (1 - beta) for j in range(m)]
    for _ in range(iterations):
        sums = [sum(v[j] ** (-beta / (1 - beta)) * s[i][j] for j in range(m)) for i in range(n)]
        v = [(sum(s[i][j] / sums[i] for i in range(n)) / n) ** (1 - beta) for j in range(m)]
    w = [[v[j] ** (-beta / (1 - beta)) * s[i][j] for j in range(m)] for i in range(n)]
    return [[value / sum(row) for value in row] for row in w]


def entropy(p):
    return -sum(value * math.log(value) for value in p)


def objective(w, k, prototypes, temperature, beta):
    """The mean of KL(w | p) less beta times the mutual information of image and prototype."""
    n = len(w)
    p = [softmax([dot(row, c) / temperature for c in prototypes]) for row in k]
    kl = sum(a * math.log(a / b) for x, y in zip(w, p, strict=True) for a, b in zip(x, y, strict=True)) / n
    mean = [sum(row[j] for row in w) / n for j in range(len(prototypes))]
    return kl - beta * (entropy(mean) - sum(map(entropy, w)) / n)
