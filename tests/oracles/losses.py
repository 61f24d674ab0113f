"""The papers' losses again, one number at a time."""

import math


def moco(q, k, queue, temperature):
    """He et al. 2020, eq. 1, averaged over the batch."""
    total = 0.0
    for i in range(len(q)):
        own = sum(a * b for a, b in zip(q[i], k[i], strict=True)) / temperature
        others = [sum(a * b for a, b in zip(q[i], row, strict=True)) / temperature for row in queue]
        total += -own + math.log(math.exp(own) + sum(math.exp(value) for value in others))
    return total / len(q)


def softmax(logits, temperature=1.0):
    powers = [math.exp(value / temperature) for value in logits]
    return [power / sum(powers) for power in powers]


def cross_entropy(logits, target):
    """-log softmax(logits)[target]."""
    return -logits[target] + math.log(sum(math.exp(value) for value in logits))


def fixmatch(weak, strong, threshold):
    """Sohn et al. 2020, eq. 4: the mean is over all unlabelled images, those below the threshold adding nothing."""
    total, count = 0.0, 0
    for w, s in zip(weak, strong, strict=True):
        p = softmax(w)
        if max(p) >= threshold:
            count += 1
            total += cross_entropy(s, p.index(max(p)))
    return total / len(weak), count / len(weak)
