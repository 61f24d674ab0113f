"""Zbontar et al. 2021, eq. 1 and 2, one correlation at a time."""

from tests.oracles.algebra import cosine


def barlow_twins(z1, z2, off_diagonal):
    """The correlations over the batch, 1 wanted of each feature with itself and 0 with every other."""
    d = len(z1[0])

    def centred(z, feature):
        column = [row[feature] for row in z]
        return [value - sum(column) / len(column) for value in column]

    total = 0.0
    for i in range(d):
        for j in range(d):
            c = cosine(centred(z1, i), centred(z2, j))
            total += (1 - c) ** 2 if i == j else off_diagonal * c**2
    return total
