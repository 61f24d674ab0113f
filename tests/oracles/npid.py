"""Wu et al. 2018, one probability at a time."""

import math

from tests.oracles.algebra import dot


def potential(q, row, temperature):
    """exp(q . row / T)."""
    return math.exp(dot(q, row) / temperature)


def softmax(queries, bank, own, temperature):
    """Eq. 2 and 3, averaged over the queries."""
    total = 0.0
    for q, i in zip(queries, own, strict=True):
        total -= math.log(potential(q, bank[i], temperature) / sum(potential(q, row, temperature) for row in bank))
    return total / len(queries)


def constant(queries, bank, noise, temperature):
    """Z as n times the mean potential of the queries with the rows that were drawn."""
    found = [potential(q, bank[i], temperature) for q in queries for i in noise]
    return len(bank) * sum(found) / len(found)


def nce(queries, bank, own, noise, z, temperature):
    """The posterior of being data and not noise, of which there is m times as much, spread evenly over the bank."""
    evenly = len(noise) / len(bank)

    def data(q, i):
        probability = potential(q, bank[i], temperature) / z
        return probability / (probability + evenly)

    total = 0.0
    for q, i in zip(queries, own, strict=True):
        total -= math.log(data(q, i)) + sum(math.log(1 - data(q, j)) for j in noise)
    return total / len(queries)
