"""Huang et al. 2022: the term that scatters clusters, one cluster at a time."""

from tests.oracles.algebra import cross_entropy, dot, unit


def centre(rows):
    return unit([sum(column) / len(rows) for column in zip(*rows, strict=True)])


def scattering(q, k, labels, temperature):
    there = sorted(set(labels) - {-1})
    of_q, of_k = (
        [centre([row for row, label in zip(x, labels, strict=True) if label == c]) for c in there] for x in (q, k)
    )
    total = 0.0
    for i, query in enumerate(of_q):
        logits = [dot(query, of_k[i] if i == j else other) / temperature for j, other in enumerate(of_q)]
        total += cross_entropy(logits, i)
    return total / len(there)
