"""The losses of MSF and CMSF-self again, one number at a time."""

from tests.oracles.algebra import dot, sq_dist, unit


def nearest(point, rows, among, k):
    """The k of the row numbers `among` whose rows have the greatest scalar product with the point."""
    return sorted(among, key=lambda j: -dot(point, rows[j]))[:k]


def msf(v, u, memory, k):
    """Koohpayegani et al. 2021: the mean distance to the k nearest neighbours of u, averaged over the batch."""
    total = 0.0
    for i in range(len(v)):
        found = nearest(u[i], memory, range(len(memory)), k)
        total += sum(sq_dist(unit(v[i]), unit(memory[j])) for j in found) / k
    return total / len(v)


def cmsf(v, u, w, memory, earlier, k, constrained):
    """Navaneet et al. 2022, self-supervised: half MSF, half the same with the search limited to C.

    C is the `constrained` rows nearest to w in M'; None in w or M' is an embedding that there is not.
    """
    total = 0.0
    for i in range(len(v)):
        plain = msf([v[i]], [u[i]], memory, k)
        there = [j for j in range(len(memory)) if earlier[j] is not None]
        space = nearest(w[i], earlier, there, constrained) if w[i] is not None else []
        second = nearest(u[i], memory, space, k)
        if second:
            total += plain / 2 + sum(sq_dist(unit(v[i]), unit(memory[j])) for j in second) / len(second) / 2
        else:
            total += plain
    return total / len(v)


def push(queue, rows):
    """A queue as a list, oldest first, after the rows went in: never longer than it was, unless the rows are more."""
    size = max(len(queue), len(rows))
    return (queue + rows)[-size:]
