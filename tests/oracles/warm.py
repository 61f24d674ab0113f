"""The warm-start selectors again, in plain loops, from their papers."""

import math

from tests.oracles.algebra import dot, softmax, sq_dist


def logits(h, weight, bias):
    """The linear layer on one image's features."""
    return [dot(row, h) + b for row, b in zip(weight, bias, strict=True)]


def probabilities(features, weight, bias):
    return [softmax(logits(h, weight, bias)) for h in features]


def unsure(p):
    """1 - (highest - second highest), for each row."""
    return [1 - (sorted(row)[-1] - sorted(row)[-2]) for row in p]


def entropy(p):
    """-sum p log p, for each row."""
    return [-math.fsum(q * math.log(q) for q in row if q > 0) for row in p]


def best(value, free, budget):
    """The free rows of highest value, the lowest first on ties."""
    return sorted(free, key=lambda row: (-value[row], row))[:budget]


def gradients(p, features):
    """Ash et al. (ICLR 2020), section 3: (p_c - [c is predicted]) h, for all classes c one after the other."""
    found = []
    for row, h in zip(p, features, strict=True):
        top = row.index(max(row))
        found.append([(q - (c == top)) * value for c, q in enumerate(row) for value in h])
    return found


def plus_plus(g, free, budget, draws):
    """k-means++ from the longest; `draws` are numbers in [0, 1), one a pick. Rows, and the mean sq_dist after each."""
    rows = [max(free, key=lambda row: math.fsum(v * v for v in g[row]))]
    spread = []
    while True:
        gap = [min(sq_dist(g[i], g[s]) for s in rows) for i in free]
        spread.append(math.fsum(gap) / len(gap))
        if len(rows) == budget:
            return rows, spread
        goal, reached = next(draws) * math.fsum(gap), 0.0
        for row, one in zip(free, gap, strict=True):
            reached += one
            if reached > goal:
                rows.append(row)
                break


def changes(features, weight, bias, masks):
    """For each image in how many of its masks the class of the masked features, divided by what is kept, is another.

    `masks[i][m]` is a list of 0 and 1 / (1 - rate).
    """

    def guess(h):
        scores = logits(h, weight, bias)
        return scores.index(max(scores))

    return [
        sum(guess([a * b for a, b in zip(h, mask, strict=True)]) != guess(h) for mask in own)
        for h, own in zip(features, masks, strict=True)
    ]
