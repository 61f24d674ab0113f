"""The losses of pretext tasks, one image at a time."""

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
