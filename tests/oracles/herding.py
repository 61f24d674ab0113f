"""MaxHerding (Bae et al. 2024) and RDSS (Shao et al. 2024) again, in plain loops on rows of unit length."""

import math
from statistics import median

from tests.oracles.algebra import sq_dist


def coverage(x, chosen, sigma, weight=None):
    """The mean over all rows of weight times the largest exp(-(distance / sigma)^2) to a chosen one."""
    weight = weight or [1.0] * len(x)
    best = [max((math.exp(-sq_dist(a, x[s]) / sigma**2) for s in chosen), default=0.0) for a in x]
    return sum(w * b for w, b in zip(weight, best, strict=True)) / len(x)


def max_herding(x, labelled, free, sigma, budget, weight=None):
    """The rows picked and what each adds to the coverage."""
    chosen, gains = list(labelled), []
    for _ in range(budget):
        before = coverage(x, chosen, sigma, weight)
        gain = {i: coverage(x, [*chosen, i], sigma, weight) - before for i in free if i not in chosen}
        best = max(gain, key=lambda i: gain[i])
        chosen.append(best)
        gains.append(gain[best])
    return chosen[len(labelled) :], gains


def rdss(x, labelled, free, bandwidth, budget):
    """Algorithm 1, the labelled rows being the first picks; and alpha mu - S of each pick."""
    apart = [sq_dist(x[i], x[j]) ** 0.5 for i in range(len(x)) for j in range(len(x)) if i != j]
    sigma = bandwidth * median(apart)
    kernel = [[math.exp(-sq_dist(a, b) / sigma**2) for b in x] for a in x]
    total = len(labelled) + budget
    alpha = 1.0 if total == 1 else 1 - 1 / math.sqrt(total)
    mu = [sum(row) / len(x) for row in kernel]
    s = [0.0] * len(x)
    picks, criterion = [], []
    for p in range(1, total + 1):
        if p <= len(labelled):
            pick = labelled[p - 1]
        else:
            pick = min((i for i in free if i not in picks), key=lambda i: s[i] - alpha * mu[i])
            picks.append(pick)
            criterion.append(alpha * mu[pick] - s[pick])
        s = [(1 - 1 / p) * s[i] + kernel[pick][i] / p for i in range(len(x))]
    return picks, criterion
