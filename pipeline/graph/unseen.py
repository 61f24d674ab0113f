"""Images that look like none of the classes with a label: parts of the graph that the labels hardly reach.

The reach of an image is what labels of weight 1 give it by (I - alpha S)^-1, over what it would get were all images
labelled. It knows no class, so a class without a label has little of it. How little is too little, the labels say: each
in turn is an image of a known class to the others. docs/results/unseen.md has what was tried and measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
from jaxtyping import Bool, Float, Float32, Int64
from numpy import ndarray
from scipy.sparse.csgraph import connected_components

from pipeline.artifacts.neighbours import Neighbours
from pipeline.base import rng
from pipeline.graph.affinity import Affinity
from pipeline.graph.left_out import MOST
from pipeline.graph.spread import at_images, solve
from pipeline.vectors.clustering import KMeansParams, kmeans
from pipeline.vectors.geometry import unit
from pipeline.vectors.rows import sample

SHARE = 0.03  # of the labels left out that have as little reach as an image that is called unlike all classes
LEAST = 1.5  # images that hang together, over what a label stands for
FEWEST = 10  # labels with another of their class, below which nothing is said
KMEANS = KMeansParams(iterations=20, restarts=4, spherical=True)


@dataclass(frozen=True)
class Unseen:
    """Groups of rows that look like no class with a label: the largest group first, in each the most typical first."""

    groups: Sequence[Int64[ndarray, " _"]] = ()

    @property
    def rows(self) -> Int64[ndarray, " s"]:
        """Those of all groups."""
        return np.concatenate([np.empty(0, np.int64), *self.groups])


def unseen(
    x: Float32[ndarray, "n d"],
    neighbours: Neighbours,
    affinity: Affinity,
    rows: Int64[ndarray, " m"],
    labels: Int64[ndarray, " m"],
    asked: Bool[ndarray, " m"],
    said: Int64[ndarray, " n"],
    alpha: float,
) -> Unseen:
    """Groups among the unit vectors x that the labels of `rows` do not reach; `said` is the class each is taken for.

    An image is unlike all classes if its reach is below that of all but `SHARE` of the labels that were `asked` for,
    each left out of these and others of its class there. Such images count where `LEAST` times as many hang together in
    the graph as one of these labels stands for, n/m. What hangs together is cut by k-means into as many groups as
    classes of the usual size, the median of those known, would fill it. Labels must lie apart, as those of all
    selectors but `random` do: of random ones some parts of known classes are as far from all others as a new class is.
    """
    told, of = rows[asked], labels[asked]
    reach, without = _reach(affinity, rows, told, alpha)
    with_others = np.isfinite(without) & (np.bincount(of, minlength=labels.max(initial=0) + 1)[of] > 1)
    if np.count_nonzero(with_others) < FEWEST:
        return Unseen()
    below = reach < np.quantile(without[with_others], SHARE)
    below[rows] = False
    least = LEAST * len(x) / len(told)
    parts = [part for part in _connected(neighbours, np.flatnonzero(below)) if len(part) >= least]
    if not parts:
        return Unseen()
    known = np.ones(len(x), bool)
    known[np.concatenate(parts)] = False
    sizes = np.bincount(said[known], minlength=labels.max() + 1)
    usual = max(float(np.median(sizes[np.unique(labels)])), 1.0)
    groups = [group for part in parts for group in _cut(x, part, max(1, round(len(part) / usual)))]
    return Unseen(sorted(groups, key=len, reverse=True))


def _reach(
    affinity: Affinity, rows: Int64[ndarray, " m"], told: Int64[ndarray, " a"], alpha: float
) -> tuple[Float[ndarray, " n"], Float[ndarray, " a"]]:
    """That of each image by all labels, and of each of `told` by the others of these; NaN beyond `MOST` of them."""
    device, place = affinity.matrix.device, sample(len(told), MOST, rng.stream(0, "graph", "left out"))
    sources = torch.zeros(len(affinity), 3, device=device)
    sources[torch.from_numpy(rows), 0] = 1
    sources[torch.from_numpy(told), 1] = 1
    sources[:, 2] = 1
    by_all, by_told, most = solve(affinity, sources, alpha).double().clamp(min=0).cpu().numpy().T
    most = np.maximum(most, np.finfo(np.float32).tiny)
    at = torch.from_numpy(told[place]).to(device)
    own = at_images(affinity, at, at, alpha).diagonal().double().cpu().numpy()
    without = np.full(len(told), np.nan)
    without[place] = np.maximum(by_told[told[place]] - own, 0) / most[told[place]]
    return by_all / most, without


def _connected(neighbours: Neighbours, rows: Int64[ndarray, " s"]) -> list[Int64[ndarray, " _"]]:
    """The rows by which of them are joined by edges of the graph that leave none of them."""
    place = np.full(len(neighbours), -1)
    place[rows] = np.arange(len(rows))
    near = neighbours.rows[rows]
    ends = np.where(near >= 0, place[near], -1)
    start, end = np.broadcast_to(np.arange(len(rows))[:, None], ends.shape)[ends >= 0], ends[ends >= 0]
    edges = scipy.sparse.coo_matrix((np.ones(len(start)), (start, end)), (len(rows), len(rows)))
    count, part = connected_components(edges, directed=False)
    return [rows[part == one] for one in range(count)]


def _cut(x: Float32[ndarray, "n d"], rows: Int64[ndarray, " s"], count: int) -> list[Int64[ndarray, " _"]]:
    """The rows in at most so many clusters, in each those nearest to its mean direction first."""
    cluster = kmeans(x[rows], count, KMEANS, 0, 1000).cluster
    groups = [rows[cluster == one] for one in range(cluster.max() + 1)]
    means = [unit(x[group].mean(axis=0, keepdims=True))[0] for group in groups]
    return [group[np.argsort(-(x[group] @ mean), kind="stable")] for group, mean in zip(groups, means, strict=True)]
