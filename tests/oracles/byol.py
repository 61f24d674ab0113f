"""The losses of BYOL, SimSiam and SimReg again, one number at a time."""

from tests.oracles.algebra import cosine, sq_dist, unit


def byol(p1, p2, z1, z2):
    """Grill et al. 2020, eq. 2 and the same with the views exchanged: squared distances, averaged over the batch."""
    total = 0.0
    for i in range(len(p1)):
        for p, z in ((p1[i], z2[i]), (p2[i], z1[i])):
            total += sq_dist(unit(p), unit(z))
    return total / len(p1)


def simsiam(p1, p2, z1, z2):
    """Chen and He 2021, eqs. 1 and 4, averaged over the batch; in [-1, 1]."""
    total = 0.0
    for i in range(len(p1)):
        for p, z in ((p1[i], z2[i]), (p2[i], z1[i])):
            total -= cosine(p, z) / 2
    return total / len(p1)


def simreg(p, t):
    """Navaneet et al. 2021: squared distances of unit vectors, averaged over the batch."""
    return sum(sq_dist(unit(a), unit(b)) for a, b in zip(p, t, strict=True)) / len(p)
