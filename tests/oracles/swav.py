"""Caron et al. 2020, one number at a time."""

import math

from tests.oracles.algebra import dot, softmax


def codes(scores, epsilon, iterations):
    """Eq. 5: Diag(u) exp(scores / epsilon) Diag(v), u and v by Sinkhorn's rounds; samples come last, sums are 1."""
    n, k = len(scores), len(scores[0])
    q = [[math.exp(score / epsilon) for score in row] for row in scores]
    for _ in range(iterations):
        for j in range(k):
            total = sum(q[i][j] for i in range(n))
            for i in range(n):
                q[i][j] /= k * total
        for i in range(n):
            total = sum(q[i][j] for j in range(k))
            for j in range(k):
                q[i][j] /= n * total
    return [[n * value for value in row] for row in q]


def swapped(z, q, prototypes, temperature):
    """Eq. 2: -sum_k q_k log p_k for one sample."""
    p = softmax([dot(z, prototype) / temperature for prototype in prototypes])
    return -sum(weight * math.log(value) for weight, value in zip(q, p, strict=True))


def loss(z, q, prototypes, temperature):
    """Eq. 6: over both codes and each view that is not the code's own, here as a mean; z[view][sample], q[view]."""
    total, terms = 0.0, 0
    for i in range(2):
        for v in range(len(z)):
            if v != i:
                for sample in range(len(z[v])):
                    total += swapped(z[v][sample], q[i][sample], prototypes, temperature)
                    terms += 1
    return total / terms
