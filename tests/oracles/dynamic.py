"""Islam et al. 2021, one number at a time."""

import math


def softmax(logits, temperature=1.0):
    powers = [math.exp((x - max(logits)) / temperature) for x in logits]
    return [x / sum(powers) for x in powers]


def cross_entropy(logits, labels):
    return -sum(math.log(softmax(row)[label]) for row, label in zip(logits, labels, strict=True)) / len(labels)


def distillation(student, teacher, temperature):
    """The mean of H(softmax(teacher / temperature), softmax(student))."""
    total = 0.0
    for own, other in zip(student, teacher, strict=True):
        total -= sum(q * math.log(p) for q, p in zip(softmax(other, temperature), softmax(own), strict=True))
    return total / len(student)
