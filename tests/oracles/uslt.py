"""USL-T (Wang, Lian and Yu 2022) again, in loops, with cosine heads; constants come from `frozen` weights."""

import math

from tests.oracles.algebra import dot, sharpen, softmax


def logits(weight, row, scale):
    return [scale * dot(w, row) / math.sqrt(dot(w, w)) for w in weight]


def loss(weight, frozen, anchor, neighbour, strong, prior, params):
    """Global + weight * local, means over the batch."""
    total = 0.0
    for a, n, s in zip(anchor, neighbour, strong, strict=True):
        adjusted = [
            v - params.adjust * math.log(p) for v, p in zip(logits(frozen, n, params.scale), prior, strict=True)
        ]
        target = sharpen(softmax(adjusted), params.sharpen)
        q = softmax(logits(weight, a, params.scale))
        total += params.weight * sum(t * math.log(t / p) for t, p in zip(target, q, strict=True) if t > 0)
        weak = softmax(logits(frozen, a, params.scale))
        if max(weak) > params.confidence:
            total -= math.log(softmax(logits(weight, s, params.scale))[weak.index(max(weak))])
    return total / len(anchor)
