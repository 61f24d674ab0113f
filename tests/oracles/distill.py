"""Chen et al. 2020 (SimCLRv2), one number at a time."""

import math

from tests.oracles.algebra import cross_entropy, softmax


def loss(student, teacher, temperature):
    """Eq. 2, averaged over the images."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        p, q = softmax(t, temperature), softmax(s, temperature)
        total -= sum(p[c] * math.log(q[c]) for c in range(len(p)))
    return total / len(student)


def both(known, labels, student, teacher, alpha, temperature):
    """Eq. 3: 1 - alpha of the labels, alpha of the teacher."""
    labelled = sum(cross_entropy(row, c) for row, c in zip(known, labels, strict=True)) / len(known)
    return (1 - alpha) * labelled + alpha * loss(student, teacher, temperature)
