"""XMoCo's two terms beside MoCo's loss: pairs of images, and rows of the queue, one at a time."""

import math

from tests.oracles.algebra import dot, softmax


def crossed(q, k):
    pairs = [(i, j) for i in range(len(q)) for j in range(len(q)) if i != j]
    return sum((dot(q[i], k[j]) - dot(q[j], k[i])) ** 2 for i, j in pairs) / len(pairs)


def uneven(q, queue, temperature):
    total = 0.0
    for query in q:
        p = softmax([dot(query, row) for row in queue], temperature)
        total += sum(1 / len(queue) * math.log(1 / len(queue) / share) for share in p)
    return total / len(q)
