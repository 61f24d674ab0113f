"""USL-T (Wang, Lian and Yu 2022) again, in loops, with cosine heads; constants come from `frozen` weights."""

import math


def logits(weight, row, scale):
    found = []
    for w in weight:
        length = math.sqrt(sum(float(v) ** 2 for v in w))
        found.append(scale * sum(float(a) * float(b) for a, b in zip(w, row, strict=True)) / length)
    return found


def softmax(z):
    total = sum(math.exp(v - max(z)) for v in z)
    return [math.exp(v - max(z)) / total for v in z]


def loss(weight, frozen, anchor, neighbour, strong, prior, params):
    """Global + weight * local, means over the batch."""
    total = 0.0
    for a, n, s in zip(anchor, neighbour, strong, strict=True):
        adjusted = [
            v - params.adjust * math.log(p) for v, p in zip(logits(frozen, n, params.scale), prior, strict=True)
        ]
        sharp = [p ** (1 / params.sharpen) for p in softmax(adjusted)]
        target = [p / sum(sharp) for p in sharp]
        q = softmax(logits(weight, a, params.scale))
        total += params.weight * sum(t * math.log(t / p) for t, p in zip(target, q, strict=True) if t > 0)
        weak = softmax(logits(frozen, a, params.scale))
        if max(weak) > params.confidence:
            total -= math.log(softmax(logits(weight, s, params.scale))[weak.index(max(weak))])
    return total / len(anchor)
