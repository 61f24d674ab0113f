"""Wang et al. 2023, one number at a time."""

import math

from tests.oracles.algebra import softmax


def averages(weak, before, momentum):
    """Eq. 5, 6 and 11: tau, p~ and h~ after a batch; `before` are the three before it."""
    tau, mean, histogram = before
    p = [softmax(row) for row in weak]
    u, k = len(p), len(mean)
    tau = momentum * tau + (1 - momentum) * sum(max(row) for row in p) / u
    mean = [momentum * mean[c] + (1 - momentum) * sum(row[c] for row in p) / u for c in range(k)]
    share = [sum(1 for row in p if row.index(max(row)) == c) / u for c in range(k)]
    return tau, mean, [momentum * histogram[c] + (1 - momentum) * share[c] for c in range(k)]


def mask(weak, tau, mean):
    """Eq. 7 and 8: which images count."""
    found = []
    for row in weak:
        p = softmax(row)
        found.append(max(p) >= tau * mean[p.index(max(p))] / max(mean))
    return found


def pseudo(weak, strong, mask):
    """Eq. 8: the unlabelled loss."""
    total = 0.0
    for w, s, counts in zip(weak, strong, mask, strict=True):
        if counts:
            total -= math.log(softmax(s)[w.index(max(w))])
    return total / len(weak)


def fairness(strong, mask, mean, histogram):
    """Eq. 9, 10 and 12, over the classes that some strong view in the mask is predicted to be."""
    rows = [softmax(row) for row, counts in zip(strong, mask, strict=True) if counts]
    k = len(mean)
    own = [sum(1 for row in rows if row.index(max(row)) == c) for c in range(k)]
    there = [c for c in range(k) if own[c] > 0]
    wanted = [mean[c] / histogram[c] for c in there]
    found = [sum(row[c] for row in rows) / own[c] for c in there]
    return sum(a / sum(wanted) * math.log(b / sum(found)) for a, b in zip(wanted, found, strict=True))
