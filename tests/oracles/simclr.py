"""Chen et al. 2020, eq. 1, one pair of views at a time."""

import math

from tests.oracles.algebra import cosine


def simclr(z1, z2, temperature):
    """The mean over all 2 N views of -log of the other view's share of all that are not the view itself."""
    n, views = len(z1), [*z1, *z2]

    def similar(i, j):
        return math.exp(cosine(views[i], views[j]) / temperature)

    total = 0.0
    for k in range(n):
        for i, j in ((k, k + n), (k + n, k)):
            total -= math.log(similar(i, j) / sum(similar(i, other) for other in range(2 * n) if other != i))
    return total / (2 * n)
