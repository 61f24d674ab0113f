"""Xie et al. 2022: the term between images, one query at a time."""

from tests.oracles.algebra import cross_entropy, dot


def inter(q, bank, of_queries, of_rows, order, ranks, temperature, margin, candidates):
    total = 0.0
    for query, cluster in zip(q, of_queries, strict=True):
        mates = [i for i, label in enumerate(of_rows) if label == cluster]
        positive = max(mates, key=lambda i: order[i])
        others = sorted(
            (dot(query, row) for row, label in zip(bank, of_rows, strict=True) if label != cluster), reverse=True
        )
        chosen = [others[rank] for rank in ranks if rank < min(candidates, len(others))]
        logits = [cos / temperature for cos in (dot(query, bank[positive]) + margin, *chosen)]
        total += cross_entropy(logits, 0)
    return total / len(q)
