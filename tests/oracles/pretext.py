"""The losses of pretext tasks, one image at a time."""

import math

from tests.oracles import npid
from tests.oracles.algebra import cross_entropy, unit


def rotation(logits):
    """Gidaris et al. 2018, eq. 1 and 2, averaged over the turns: logits[t][i] are those of image i after t turns."""
    terms = [cross_entropy(row, turn) for turn, rows in enumerate(logits) for row in rows]
    return sum(terms) / len(terms)


def exemplar(views, classes, own, temperature):
    """A softmax over learnt directions, mean over all views, which are unit vectors; own are the images' numbers."""
    rows = [unit(row) for row in classes]
    return npid.softmax([q for view in views for q in view], rows, own * len(views), temperature)


def mae(painted, patches, hidden):
    """He et al. 2022, section 3: hidden patches by their own mean and deviation, over n - 1."""
    errors = []
    for image, wanted, away in zip(painted, patches, hidden, strict=True):
        for row, values, gone in zip(image, wanted, away, strict=True):
            mean = sum(values) / len(values)
            std = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) + 1e-6)
            if gone:
                errors += [(p - (value - mean) / std) ** 2 for p, value in zip(row, values, strict=True)]
    return sum(errors) / len(errors)
