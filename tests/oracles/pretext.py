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


def hidden_error(found, targets, hidden):
    """Squared differences over the hidden patches' values."""
    rows = [
        (row, wanted)
        for image, goals, away in zip(found, targets, hidden, strict=True)
        for row, wanted, gone in zip(image, goals, away, strict=True)
        if gone
    ]
    errors = [(a - b) ** 2 for row, wanted in rows for a, b in zip(row, wanted, strict=True)]
    return sum(errors) / len(errors)


def mae(painted, patches, hidden):
    """He et al. 2022, section 3: patches by their own mean and deviation, over n - 1."""

    def standardised(values):
        mean = sum(values) / len(values)
        std = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) + 1e-6)
        return [(value - mean) / std for value in values]

    return hidden_error(painted, [[standardised(values) for values in image] for image in patches], hidden)


def histogram(plane, row, column, cell):
    """Wei et al. 2022, one cell of a plane, one pixel at a time: nine bins of half a turn, the first from 0 on."""
    h, w = len(plane), len(plane[0])

    def at(y, x):
        y, x = abs(y), abs(x)  # mirrored, and the border itself not twice
        return plane[2 * h - 2 - y if y >= h else y][2 * w - 2 - x if x >= w else x]

    bins = [0.0] * 9
    for y in range(row * cell, (row + 1) * cell):
        for x in range(column * cell, (column + 1) * cell):
            right = sum(k * (at(y + d, x - 1) - at(y + d, x + 1)) for d, k in ((-1, 1), (0, 2), (1, 1)))
            down = sum(k * (at(y - 1, x + d) - at(y + 1, x + d)) for d, k in ((-1, 1), (0, 2), (1, 1)))
            middle = [(place % (2 * cell) - (cell - 0.5)) / cell for place in (y, x)]
            weight = math.exp(-(middle[0] ** 2 + middle[1] ** 2) / 2)
            turns = math.atan2(down, right) / math.pi + 1e-4 / 9
            bins[int(turns % 1 * 9)] += weight * math.hypot(right, down)
    length = max(1e-3, math.sqrt(sum(value**2 for value in bins)))
    return [value / length for value in bins]
