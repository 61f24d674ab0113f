"""What the papers' loops share: products, distances and softmax, one number at a time."""

import math


def dot(a, b):
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def sq_dist(a, b):
    return sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True))


def unit(x):
    length = math.sqrt(dot(x, x))
    return [a / length for a in x]


def cosine(a, b):
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def softmax(logits, temperature=1.0):
    powers = [math.exp((value - max(logits)) / temperature) for value in logits]
    return [power / sum(powers) for power in powers]


def cross_entropy(logits, target):
    """-log softmax(logits)[target]."""
    return -logits[target] + math.log(sum(math.exp(value) for value in logits))


def sharpen(p, temperature):
    """p_c^(1/T) / sum."""
    powers = [value ** (1 / temperature) for value in p]
    return [power / sum(powers) for power in powers]
