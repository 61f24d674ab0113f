"""Zbontar et al. 2021, eq. 1 and 2, one correlation at a time."""


def barlow_twins(z1, z2, off_diagonal):
    """The correlations over the batch, 1 wanted of each feature with itself and 0 with every other."""
    d = len(z1[0])

    def centred(z, feature):
        column = [row[feature] for row in z]
        return [value - sum(column) / len(column) for value in column]

    total = 0.0
    for i in range(d):
        for j in range(d):
            a, b = centred(z1, i), centred(z2, j)
            c = sum(x * y for x, y in zip(a, b, strict=True))
            c /= sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5
            total += (1 - c) ** 2 if i == j else off_diagonal * c**2
    return total
