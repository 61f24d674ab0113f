"""The labelled loss of GCD, and its clusters, one row at a time."""

import math

from tests.oracles.algebra import cosine, unit


def sup_con(z1, z2, label, temperature):
    """Khosla et al. 2020, eq. 2: mean over views of the mean over its positives of -log of their share."""
    views, label, total = [*z1, *z2], [*label, *label], 0.0
    for i, own in enumerate(views):
        others = [j for j in range(len(views)) if j != i]
        similar = {j: math.exp(cosine(own, views[j]) / temperature) for j in others}
        positives = [j for j in others if label[j] == label[i]]
        total -= sum(math.log(similar[j] / sum(similar.values())) for j in positives) / len(positives)
    return total / len(views)


def settled(x, known, labels, k):
    """Whether clusters are what k-means ends in: classes stay, and every other row is nearest to its own cluster."""
    members = [[row for row, c in zip(x, labels, strict=True) if c == cluster] for cluster in range(k)]
    means = [unit([sum(column) for column in zip(*rows, strict=True)]) if rows else None for rows in members]
    for row, kind, c in zip(x, known, labels, strict=True):
        best = max(cosine(row, mean) for mean in means if mean)
        if (kind >= 0 and c != kind) or (kind < 0 and cosine(row, means[c]) < best - 1e-6):
            return False
    return True
