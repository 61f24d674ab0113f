"""What a set of labels covers. Sees labels, so it lives here and not in `select`."""

import numpy as np
from jaxtyping import Int64
from numpy import ndarray


def covered(labels: Int64[ndarray, " b"]) -> int:
    """The number of classes with at least one label."""
    return len(np.unique(labels))


def balance(labels: Int64[ndarray, " b"]) -> float:
    """How evenly the labels lie over the classes they cover: entropy over its maximum, 1 for equal counts, in (0, 1].

    One class alone counts as 1: what is missing is told by `covered`.
    """
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) == 1:
        return 1.0
    share = counts / counts.sum()
    return float(-(share * np.log(share)).sum() / np.log(len(counts)))
