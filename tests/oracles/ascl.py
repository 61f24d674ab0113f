"""Feng and Patras 2022: MoCo's cross-entropy against the teacher's shares of the queue, one row at a time."""

import math

from tests.oracles.algebra import cross_entropy, dot, softmax


def ascl(q, k, queue, temperature, target_temperature, neighbours):
    total = 0.0
    for query, key in zip(q, k, strict=True):
        p = softmax([dot(key, row) / target_temperature for row in queue])
        sure = 1 + sum(share * math.log(share) for share in p) / math.log(len(queue))
        weights = [1.0, *(min(1.0, neighbours * sure * share) for share in p)]
        logits = [dot(query, row) / temperature for row in (key, *queue)]
        total += sum(w * cross_entropy(logits, i) for i, w in enumerate(weights)) / sum(weights)
    return total / len(q)
