"""USL again, in plain loops, from Wang, Lian and Yu (ECCV 2022), section 3.1, given the clusters."""

from tests.oracles.algebra import sq_dist


def density(x, neighbours):
    """1 / mean squared distance to the K nearest, itself included."""
    found = []
    for a in x:
        nearest = sorted(sq_dist(a, b) for b in x)[:neighbours]
        found.append(len(nearest) / sum(nearest))
    return found


def picks(x, cluster, neighbours, weight, alpha, kind, value, momentum, rounds):
    """The row picked from each cluster."""
    rep = density(x, neighbours)
    members = {c: [i for i in range(len(x)) if cluster[i] == c] for c in sorted(set(cluster))}
    chosen = {c: max(own, key=lambda i: rep[i]) for c, own in members.items()}
    reg = [0.0] * len(x)
    for _ in range(rounds):
        new = []
        for i in range(len(x)):
            apart = sorted(sq_dist(x[i], x[s]) for c, s in chosen.items() if c != cluster[i])
            apart = apart[:value] if kind == "nearest" else [d for d in apart if d < value]
            new.append(sum(1 / d**alpha for d in apart))
        reg = [momentum * old + (1 - momentum) * add for old, add in zip(reg, new, strict=True)]
        chosen = {c: max(own, key=lambda i: rep[i] - weight * reg[i]) for c, own in members.items()}
    return list(chosen.values())
