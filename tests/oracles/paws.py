"""Assran et al. 2021, one number at a time."""

import math

from tests.oracles.algebra import cosine, sharpen


def smooth(label, num_classes, smoothing):
    """Section 4: a share of each label goes to all classes alike."""
    return [(1 - smoothing) * (c == label) + smoothing / num_classes for c in range(num_classes)]


def nearest(z, supports, answers, temperature):
    """Eq. 1: each support speaks for its answer, the louder the more it is like z."""
    found, total = [0.0] * len(answers[0]), 0.0
    for support, answer in zip(supports, answers, strict=True):
        loudness = math.exp(cosine(z, support) / temperature)
        total += loudness
        for c, value in enumerate(answer):
            found[c] += loudness * value
    return [value / total for value in found]


def cross_entropy(q, p):
    """-sum q log p, without entries of q below 1e-4."""
    return -sum(a * math.log(b) for a, b in zip(q, p, strict=True) if a >= 1e-4)


def losses(anchors, targets, supports, target_supports, labels, num_classes, smoothing, temperature, sharper):
    """Eq. 2: the mean of H(q, p) and minus H(mean sharpened p). `anchors[view][image]`, `targets[0 or 1][image]`."""
    answers = [smooth(label, num_classes, smoothing) for label in labels]
    p = [[nearest(z, supports, answers, temperature) for z in view] for view in anchors]
    q = [[sharpen(nearest(z, target_supports, answers, temperature), sharper) for z in view] for view in targets]
    total, terms, mean = 0.0, 0, [0.0] * num_classes
    for v in range(len(p)):
        for i in range(len(p[v])):
            both = [(a + b) / 2 for a, b in zip(q[0][i], q[1][i], strict=True)]
            total += cross_entropy(q[1 - v][i] if v < 2 else both, p[v][i])
            terms += 1
            for c, value in enumerate(sharpen(p[v][i], sharper)):
                mean[c] += value
    return total / terms, sum(value / terms * math.log(value / terms) for value in mean)
