"""The papers' losses again, one number at a time."""

from tests.oracles.algebra import cross_entropy, dot, softmax


def moco(q, k, queue, temperature):
    """He et al. 2020, eq. 1, averaged over the batch."""
    total = 0.0
    for query, key in zip(q, k, strict=True):
        total += cross_entropy([dot(query, row) / temperature for row in (key, *queue)], 0)
    return total / len(q)


def fixmatch(weak, strong, threshold):
    """Sohn et al. 2020, eq. 4: the mean is over all unlabelled images, those below the threshold adding nothing."""
    total, count = 0.0, 0
    for w, s in zip(weak, strong, strict=True):
        p = softmax(w)
        if max(p) >= threshold:
            count += 1
            total += cross_entropy(s, p.index(max(p)))
    return total / len(weak), count / len(weak)
