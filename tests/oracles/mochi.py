"""Kalantidis et al. 2020: MoCo's cross-entropy with each query's mixes as rows of its queue, one row at a time."""

from tests.oracles.algebra import dot, unit
from tests.oracles.losses import moco


def mixed(share, x, y):
    return unit([share * a + (1 - share) * b for a, b in zip(x, y, strict=True)])


def made(query, queue, hardest, mixes):
    """The mixes of one query; `mixes` holds lists of ranks and shares."""
    near = sorted(queue, key=lambda row: -dot(query, row))[:hardest]
    first, second, share, beside, query_share = mixes
    of_rows = [mixed(a, near[i], near[j]) for i, j, a in zip(first, second, share, strict=True)]
    return of_rows + [mixed(b, query, near[j]) for j, b in zip(beside, query_share, strict=True)]


def mochi(q, k, queue, temperature, hardest, mixes):
    each = [
        moco([query], [key], queue + made(query, queue, hardest, mixes), temperature)
        for query, key in zip(q, k, strict=True)
    ]
    return sum(each) / len(q)
