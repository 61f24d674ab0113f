"""Berthelot et al. 2019, one number at a time."""

import math

from tests.oracles.algebra import sharpen, softmax


def prediction(views, temperature):
    """Eq. 6 and 7 for one image, from the logits of each of its views."""
    k = len(views[0])
    mean = [sum(softmax(view)[c] for view in views) / len(views) for c in range(k)]
    return sharpen(mean, temperature)


def mix(a, b, draw):
    """Eq. 9 to 11 for a pair of vectors and a draw of Beta(alpha, alpha)."""
    share = max(draw, 1 - draw)
    return [share * x + (1 - share) * y for x, y in zip(a, b, strict=True)]


def loss(logits, targets, known):
    """Eq. 3 and 4; `known` tells which rows have a label of their own."""
    labelled, unlabelled = [], []
    for row, target, is_known in zip(logits, targets, known, strict=True):
        p = softmax(row)
        if is_known:
            labelled.append(-sum(t * math.log(value) for t, value in zip(target, p, strict=True)))
        else:
            unlabelled.append(sum((t - value) ** 2 for t, value in zip(target, p, strict=True)) / len(p))
    return [sum(terms) / len(terms) if terms else 0.0 for terms in (labelled, unlabelled)]


def one_hot(c, k):
    return [1.0 if i == c else 0.0 for i in range(k)]


def targets(labels, own, views, copies, temperature):
    """What stands for the class of each labelled image and of each of `copies` views of the others, before mixing.

    A label of -1 is none: the prediction from the image's one view `own[i]` (logits) takes its place. `views[v][j]` are
    the logits of view v of unlabelled image j.
    """
    k = len(views[0][0])
    found = [one_hot(c, k) if c >= 0 else prediction([o], temperature) for c, o in zip(labels, own, strict=True)]
    for _ in range(copies):
        for j in range(len(views[0])):
            found.append(prediction([view[j] for view in views], temperature))
    return found, [c >= 0 for c in labels] + [False] * (copies * len(views[0]))
