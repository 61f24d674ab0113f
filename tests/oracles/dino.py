"""Caron et al. 2021, eq. 1 to 4 and algorithm 1, one number at a time."""

import math

from tests.oracles.algebra import softmax


def targets(scores, centre, temperature):
    """Of one image: the teacher's scores, centred and sharpened."""
    return softmax([(score - c) / temperature for score, c in zip(scores, centre, strict=True)])


def loss(student, teacher, centre, temperature, target_temperature):
    """Mean over the teacher's two views and every other view of the student's; student[view][sample], as teacher."""
    total, terms = 0.0, 0
    for i in range(2):
        for v in range(len(student)):
            if v != i:
                for s, t in zip(student[v], teacher[i], strict=True):
                    p = softmax([score / temperature for score in s])
                    q = targets(t, centre, target_temperature)
                    total -= sum(share * math.log(value) for share, value in zip(q, p, strict=True))
                    terms += 1
    return total / terms


def moved(centre, scores, momentum):
    """Eq. 4: the centre after a batch of the teacher's scores."""
    means = [sum(column) / len(scores) for column in zip(*scores, strict=True)]
    return [momentum * c + (1 - momentum) * mean for c, mean in zip(centre, means, strict=True)]
