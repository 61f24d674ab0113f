"""Facility location again, in plain loops."""

from tests.oracles.algebra import sq_dist


def similarities(x, neighbours):
    """sim[i][s]: the cosine where s is among the nearest of i and it is positive, else 0; x has unit rows."""
    sim = []
    for a in x:
        gaps = [sq_dist(a, b) for b in x]
        last = sorted(gaps)[min(neighbours, len(x)) - 1]
        sim.append([max(0.0, 1 - gap / 2) if gap <= last else 0.0 for gap in gaps])
    return sim


def value(sim, picks):
    return sum(max((row[s] for s in picks), default=0.0) for row in sim)


def picks(sim, labelled, barred, budget):
    rows = []
    while len(rows) < budget:
        free = [i for i in range(len(sim)) if i not in {*labelled, *barred, *rows}]
        rows.append(max(free, key=lambda i: value(sim, [*labelled, *rows, i])))
    return rows
