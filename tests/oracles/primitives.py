"""The two primitives again, one number at a time."""

import math


def soft_ce(q, keys, targets, temperature, mask=None):
    """Mean over queries of -sum_j Y_ij log softmax_j(q_i . key_j / T), over the keys that are not masked."""
    total = 0.0
    for i, query in enumerate(q):
        logits = {
            j: sum(a * b for a, b in zip(query, key, strict=True)) / temperature
            for j, key in enumerate(keys)
            if mask is None or not mask[i][j]
        }
        norm = math.log(sum(math.exp(value) for value in logits.values()))
        total -= sum(targets[i][j] * (value - norm) for j, value in logits.items())
    return total / len(q)


def regress(q, targets, weights):
    """Mean over queries of sum_k W_ik (2 - 2 cos(q_i, target_ik))."""
    total = 0.0
    for i, query in enumerate(q):
        for k, target in enumerate(targets[i]):
            dot = sum(a * b for a, b in zip(query, target, strict=True))
            lengths = math.hypot(*query) * math.hypot(*target)
            total += weights[i][k] * (2 - 2 * dot / lengths)
    return total / len(q)
