"""How much a view counts, told without labels: by how far its neighbours are those that the backbone finds."""

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray

MOST = 1400  # images of the sample
NONE, FULL = 0.1, 0.2  # agreement up to which a view counts nothing, and from which on as much as the backbone


def agreement(view: Float32[ndarray, "m v"], backbone: Float32[ndarray, "m d"]) -> float:
    """0: the nearest images of a view are the backbone's as often as by chance; 1: they are the same. Unit vectors.

    Where a sample is so small that all images are neighbours there is no telling, and it is 0.
    """
    others = len(view) - 1
    k = max(2, round(len(view) / 140))
    if others <= k:
        return 0.0
    pairs = zip(nearest(view, k), nearest(backbone, k), strict=True)
    overlap = sum(len(np.intersect1d(a, b)) for a, b in pairs) / (k * len(view))
    return float((overlap - k / others) / (1 - k / others))


def nearest(x: Float32[ndarray, "m d"], k: int) -> Int64[ndarray, "m k"]:
    """The k other rows of most cosine to each row; of equal ones the first."""
    similar = x @ x.T
    np.fill_diagonal(similar, -np.inf)
    return (-similar).argsort(axis=1, kind="stable")[:, :k]


def weight(agreed: float) -> float:
    """From 0 to 1: what an agreement is worth.

    Pixels and HOG agreed by .20 to .89 where they help (Fashion-MNIST, digits), by .03 and .05 where they harm (colour
    pictures under a network of ImageNet).
    """
    return float(np.clip((agreed - NONE) / (FULL - NONE), 0, 1))
