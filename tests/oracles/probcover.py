"""ProbCover again, in plain loops, from Yehuda et al. (NeurIPS 2022), algorithm 1 and section 3.3."""

from tests.oracles.algebra import sq_dist


def ball(x, i, delta):
    return {j for j in range(len(x)) if sq_dist(x[i], x[j]) ** 0.5 < delta}


def picks(x, labelled, barred, budget, delta):
    """Largest new ball first, the lowest row on ties; where nothing new is covered, again with half the radius."""
    rows, gains = [], []
    while len(rows) < budget:
        balls = [ball(x, i, delta) for i in range(len(x))]
        while len(rows) < budget:
            covered = set().union(*(balls[i] for i in [*labelled, *rows]))
            free = [i for i in range(len(x)) if i not in {*labelled, *barred, *rows}]
            best = max(free, key=lambda i: len(balls[i] - covered))
            if not balls[best] - covered:
                break
            rows.append(best)
            gains.append(len(balls[best] - covered))
        delta /= 2
    return rows, gains


def pure_share(x, cluster, delta):
    """The share of the balls whose images are of one cluster."""
    return sum(len({cluster[j] for j in ball(x, i, delta)}) == 1 for i in range(len(x))) / len(x)
