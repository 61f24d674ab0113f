"""The loss of CMSF-semi and the classes that it goes by again, one number at a time."""

import math

from tests.oracles.algebra import sq_dist, unit
from tests.oracles.msf import nearest


def constrained(v, u, label, memory, memory_label, k):
    """Navaneet et al. 2022, semi-supervised: the mean distance to the k nearest of the image's class.

    None is a class that is not known: all rows are then allowed. A class of fewer than k rows has those.
    """
    total = 0.0
    for i in range(len(v)):
        allowed = [j for j in range(len(memory)) if label[i] is None or memory_label[j] == label[i]]
        found = nearest(u[i], memory, allowed, k)
        if found:
            total += sum(sq_dist(unit(v[i]), unit(memory[j])) for j in found) / len(found)
    return total / len(v)


def known(rows, true, logits, confidence):
    """The class of each image: its label, else a pseudo-label of at least this confidence, or None."""
    found = []
    for row, values in zip(rows, logits, strict=True):
        best = max(range(len(values)), key=lambda c: values[c])
        best_p = 1 / sum(math.exp(value - values[best]) for value in values)
        found.append(true.get(row, best if best_p >= confidence else None))
    return found
