"""k-means of images of which some have a class: they stay with it, and clusters beyond these classes are new ones.

Vaze et al. 2022, "Generalized category discovery", sections 3.2 and 3.3. Rows are unit vectors and similarity is the
cosine. Departure: centroids have unit length too, where the authors' are means.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pipeline.nn.clusters import moved, nearest
from pipeline.nn.primitives import in_float32
from pipeline.vectors.matching import matched

ITERATIONS = 100  # at most; fewer where no image moves
RESTARTS = 10  # of which the tightest counts; the authors' number
MOST, SWEEP = 3, 20  # of an estimate: times the known classes, and numbers of clusters that are tried, at most
SAMPLE = 10_000  # rows of an estimate, and those with a class


class Clustering(NamedTuple):
    """The cluster of each row, and the mean cosine of rows to their centroids."""

    labels: Int64[Tensor, " n"]
    cosine: float


@in_float32
@torch.no_grad()
def semi_kmeans(x: Float[Tensor, "n d"], known: Int64[Tensor, " n"], k: int, chance: torch.Generator) -> Clustering:
    """At most k clusters of unit vectors, of which cluster c holds the rows whose class `known` is c, and others.

    Known classes are 0 to r - 1, each with a row at least, and r <= k <= n; -1: no class is known. Clusters r to k - 1
    start at rows drawn as greedy k-means++ draws them (Arthur and Vassilvitskii 2007): of several draws the one that
    most rows are near to. `chance` is a generator of the CPU.
    """
    found = [_run(x, known, k, chance) for _ in range(RESTARTS)]
    return max(found, key=lambda one: one.cosine)


def _run(x: Float[Tensor, "n d"], known: Int64[Tensor, " n"], k: int, chance: torch.Generator) -> Clustering:
    fixed = known >= 0
    labels, centroids = known, _start(x, known, k, chance)
    for _ in range(ITERATIONS):
        now = known.where(fixed, nearest(x, centroids)[0])
        if torch.equal(now, labels):
            break
        labels, centroids = now, moved(x, now, centroids)
    return Clustering(labels, float((x * centroids[labels]).sum(dim=1).mean()))


def _start(
    x: Float[Tensor, "n d"], known: Int64[Tensor, " n"], k: int, chance: torch.Generator
) -> Float[Tensor, "k d"]:
    """The unit means of the classes, then rows drawn by their squared distance to the nearest centroid so far.

    Of 2 + log k draws the best counts, as in scikit-learn: single draws ended in ten starts of which none was the best.
    """
    classes, free = int(known.max()) + 1, known < 0
    draws = 2 + int(math.log(k))
    centroids = x.new_zeros(k, x.shape[1])
    centroids[:classes] = moved(x[~free], known[~free], centroids[:classes])
    closest = nearest(x, centroids[:classes])[1] if classes else x.new_full((len(x),), -1.0)
    for place in range(classes, k):
        far = ((1 - closest).clamp(min=1e-6) * free).double().cumsum(0)
        at = torch.rand(draws, generator=chance, dtype=far.dtype).to(far.device) * far[-1]
        rows = torch.searchsorted(far, at).clamp(max=len(x) - 1)
        nearer = (x @ x[rows].T).maximum(closest[:, None])
        best = nearer.sum(dim=0).argmax()
        centroids[place], closest = x[rows[best]], nearer[:, best]
    return centroids


def numbered(labels: Int64[Tensor, " n"], classes: int) -> Int64[Tensor, " n"]:
    """The same clusters, those from number `classes` on counted anew: the largest first, and none that is empty."""
    size = labels.bincount(minlength=classes)
    order = size[classes:].argsort(descending=True, stable=True) + classes
    place = torch.arange(len(size), device=labels.device)
    place[order] = place[classes:].clone()
    return place[labels]


@in_float32
@torch.no_grad()
def estimated_classes(x: Float[Tensor, "n d"], known: Int64[Tensor, " n"], chance: torch.Generator) -> int:
    """The number of clusters that finds the known classes best (section 3.3): from their number r to `MOST` times it.

    For each of at most `SWEEP` numbers all rows are clustered without their classes, and the share of the rows with a
    class is counted whose cluster is the class's own, where each class has one. Of the best numbers it is the middle
    one. Departures: the authors search by Brent's method, up to 1,000; rows beyond `SAMPLE` are drawn at random.
    """
    rows = torch.randperm(len(x), generator=chance)[:SAMPLE].to(x.device)
    rows = torch.cat([rows, (known >= 0).nonzero()[:, 0]]).unique()
    x, known = x[rows], known[rows]
    r, told = int(known.max()) + 1, known >= 0
    most = max(min(MOST * r, len(x)), r)
    numbers = np.unique(np.geomspace(r, most, SWEEP).round().astype(int)).tolist()
    nothing = torch.full_like(known, -1)
    shares = [_share(semi_kmeans(x, nothing, k, chance).labels[told], known[told]) for k in numbers]
    best = [k for k, share in zip(numbers, shares, strict=True) if share == max(shares)]
    return best[len(best) // 2]


def _share(cluster: Int64[Tensor, " m"], label: Int64[Tensor, " m"]) -> float:
    return float(matched(label.cpu().numpy(), cluster.cpu().numpy()).mean())
