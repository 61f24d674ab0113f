"""The two primitives again, one number at a time."""

import math

from tests.oracles.algebra import cosine, dot


def soft_ce(q, keys, targets, temperature, mask=None):
    """Mean over queries of -sum_j Y_ij log softmax_j(q_i . key_j / T), over the keys that are not masked."""
    total = 0.0
    for i, query in enumerate(q):
        logits = {j: dot(query, key) / temperature for j, key in enumerate(keys) if mask is None or not mask[i][j]}
        norm = math.log(sum(math.exp(value) for value in logits.values()))
        total -= sum(targets[i][j] * (value - norm) for j, value in logits.items())
    return total / len(q)


def regress(q, targets, weights):
    """Mean over queries of sum_k W_ik (2 - 2 cos(q_i, target_ik))."""
    total = 0.0
    for i, query in enumerate(q):
        total += sum(weights[i][k] * (2 - 2 * cosine(query, target)) for k, target in enumerate(targets[i]))
    return total / len(q)
