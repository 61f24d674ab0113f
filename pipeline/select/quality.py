"""How well picks stand for the images, told without a label."""

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from pipeline.base import rng
from pipeline.select.pool import Space
from pipeline.select.taken import min_sq_dist
from pipeline.vectors.clustering import KMeansParams, kmeans
from pipeline.vectors.rows import sample

DISTANCES = 50_000  # images whose distance to the picks is measured, at most
DENSITIES = 2_000  # images, and picks, whose densities are compared, at most
NEIGHBOURS = 20  # of that density
CLUSTERS = 100  # of which those with a pick are counted, at most
KMEANS = KMeansParams(iterations=10, restarts=1, spherical=False)


def quality(space: Space, picked: Int64[ndarray, " b"], labelled: Int64[ndarray, " l"], seed: int) -> dict[str, float]:
    """Figures of the picks, together with what was labelled before, over a sample of the images where there are many.

    `mean_distance` and `max_distance`: Euclidean, from an image to the nearest that has a label. `cluster_coverage`:
    the share of k-means clusters, a hundred or as many as have a label, that hold one. `density_percentile`: the mean
    over the picks (the first 2,000) of the share of images that are less dense, in per cent; 50 for picks at random.
    Out of core neighbours are not searched for, and it is absent.
    """
    x, both = space.centred_rows, np.concatenate([labelled, picked])

    some = sample(len(x), DISTANCES, rng.stream(seed, "select", "quality", "distance"))
    distance = np.sqrt(min_sq_dist(x, some, both))
    rows = np.concatenate([some, both])
    cluster = kmeans(x[rows], min(CLUSTERS, len(both)), KMEANS, rng.number(seed, "select", "quality"), 1000).cluster
    figures = {
        "mean_distance": distance.mean(),
        "max_distance": distance.max(),
        "cluster_coverage": len(np.unique(cluster[len(some) :])) / len(np.unique(cluster)),
    }
    if isinstance(x, ndarray):
        compared = sample(len(x), DENSITIES, rng.stream(seed, "select", "quality", "density"))
        figures["density_percentile"] = _density_percentile(space, compared, picked[:DENSITIES])
    return {name: float(f"{value:.5g}") for name, value in figures.items()} | {"sample": len(some)}


def _density_percentile(space: Space, compared: Int64[ndarray, " s"], picked: Int64[ndarray, " b"]) -> float:
    k = min(NEIGHBOURS, len(space.x))
    asked, place = np.unique(np.concatenate([compared, picked]), return_inverse=True)
    sparsity = space.neighbours(k).mean_sq_dist(k, asked)[place]
    ours, theirs = sparsity[len(compared) :], np.sort(sparsity[: len(compared)])
    denser = len(theirs) - (np.searchsorted(theirs, ours, "left") + np.searchsorted(theirs, ours, "right")) / 2
    return float(100 * denser.mean() / len(theirs))
