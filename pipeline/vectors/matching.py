"""Which clusters are which classes, where answers say so: the one-to-one assignment that makes most rows right."""

import numpy as np
from jaxtyping import Bool, Int64
from numpy import ndarray
from scipy.optimize import linear_sum_assignment


def matched(answers: Int64[ndarray, " n"], clusters: Int64[ndarray, " n"]) -> Bool[ndarray, " n"]:
    """Whether each row lies in the cluster of its class (Kuhn 1955); numbers are from 0 on.

    Of more clusters than classes some have no class, and all their rows are wrong; and the other way round.
    """
    counts = np.zeros((clusters.max(initial=-1) + 1, answers.max(initial=-1) + 1), np.int64)
    np.add.at(counts, (clusters, answers), 1)
    class_of = np.full(len(counts), -1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    class_of[rows] = columns
    return class_of[clusters] == answers
