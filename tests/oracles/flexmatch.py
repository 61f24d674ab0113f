"""Zhang et al. 2021, one image at a time."""

import math

from tests.oracles.algebra import softmax


def thresholds(last, num_classes, tau):
    """Sections 3.1 to 3.3; `last` has each image's last confident pseudo-label, -1 where it never had one."""
    counts = [last.count(c) for c in range(num_classes)]
    betas = [count / max(*counts, last.count(-1)) for count in counts]
    return [tau * beta / (2 - beta) for beta in betas]


def loss(weak, strong, last, tau):
    """The unlabelled loss and the share of images that count."""
    limits = thresholds(last, len(weak[0]), tau)
    total, count = 0.0, 0
    for w, s in zip(weak, strong, strict=True):
        p = softmax(w)
        pseudo_label = p.index(max(p))
        if max(p) >= limits[pseudo_label]:
            count += 1
            total -= math.log(softmax(s)[pseudo_label])
    return total / len(weak), count / len(weak)


def remember(weak, rows, last, tau):
    """The buffer after a step."""
    last = list(last)
    for w, row in zip(weak, rows, strict=True):
        p = softmax(w)
        if max(p) >= tau:
            last[row] = p.index(max(p))
    return last
