"""USL: dense images, one a cluster, kept apart by a regulariser (Wang, Lian and Yu, ECCV 2022, section 3.1).

Letters as there: rep is the density, Reg the regulariser, λ `weight`, α `alpha`, h `horizon`, m `momentum`, T `rounds`.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy import ndarray
from pydantic import Field, model_validator

from pipeline.base import rng
from pipeline.base.params import Block
from pipeline.select.by_cluster import best_of_each, from_clusters, uncovered
from pipeline.select.pool import Pool, Space
from pipeline.select.selector import Picks, Selector
from pipeline.vectors.clustering import KMeansParams, kmeans
from pipeline.vectors.geometry import sq_dists
from pipeline.vectors.rows import blocks

AROUND = 4  # times the horizon: the picks that an image is compared with, where they are very many


class Horizon(Block):
    """Which picks of other clusters push an image away: those at a sq_dist below `value`, or the `value` nearest."""

    kind: Literal["radius", "nearest"]
    value: float = Field(gt=0)

    @model_validator(mode="after")
    def _whole(self) -> "Horizon":
        if self.kind == "nearest" and self.value != int(self.value):
            raise ValueError("a whole number of nearest picks")
        return self


class Usl(KMeansParams, Selector):
    """k-means, and from each cluster the image that is dense and far from the other clusters' picks.

    There are as many clusters as labelled images and picks together; those with a labelled image get no pick, and
    labelled images push others away like picks. Distances enter squared throughout, as FAISS gives them and the
    authors' code uses them: α applies to sq_dist. Departures: k-means starts from k-means++ and is restarted; sq_dists
    of copies count as the resolution before they are inverted, so that they give large numbers and not infinite ones;
    clusters that come out empty are made up for by `from_clusters`, which also orders the picks and says what their
    scores are. Where the horizon is the nearest picks and there are more than `AROUND` times as many, an image is
    compared only with so many that are nearest to the mean of its cluster.
    """

    neighbours: int = Field(ge=1)  # K, the image itself among them; all images, where there are fewer
    weight: float = Field(ge=0)
    alpha: float = Field(gt=0)
    horizon: Horizon
    momentum: float = Field(ge=0, lt=1)
    rounds: int = Field(ge=0)

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        number = rng.number(seed, "select", "usl")
        cluster = kmeans(pool.x, budget + len(pool.labelled), self, number, pool.space.search.memory_mb).cluster
        rep = pool.space.density(self.neighbours)
        return from_clusters(pool, regularised(pool, cluster, rep, self), cluster, budget)


def regularised(
    pool: Pool, cluster: Int64[ndarray, " n"], rep: Float[ndarray, " n"], params: Usl
) -> Int64[ndarray, " k"]:
    """The row picked from each cluster without a labelled one, after T rounds of argmax rep - λ Reg (eqs. 2, 5 to 7).

    Before the first round it is the row of highest rep; on ties the lowest row.
    """
    may = uncovered(pool, cluster)
    rows = best_of_each(cluster, rep, may)
    counted, new, reg = rows[:0], np.zeros(len(rep)), np.zeros(len(rep))
    for _ in range(params.rounds if params.weight > 0 and len(rows) + len(pool.labelled) > 1 else 0):
        anchors = np.concatenate([rows, pool.labelled])
        if params.horizon.kind == "radius":  # each counts for itself, so only those that changed are computed
            added, gone = np.setdiff1d(anchors, counted), np.setdiff1d(counted, anchors)
            new = new + closeness(pool.space, cluster, added, params) - closeness(pool.space, cluster, gone, params)
            counted = anchors
        else:
            new = closeness(pool.space, cluster, anchors, params)
        reg = params.momentum * reg + (1 - params.momentum) * new
        rows = best_of_each(cluster, rep - params.weight * reg, may)
    return rows


def closeness(
    space: Space, cluster: Int64[ndarray, " n"], rows: Int64[ndarray, " k"], params: Usl
) -> Float[ndarray, " n"]:
    """New Reg: the sum of 1 / sq_dist^α over those of `rows`, picks or labelled, in other clusters in the horizon."""
    x, num_nearest = space.centred, len(rows)
    if params.horizon.kind == "nearest":
        num_nearest = min(num_nearest, int(params.horizon.value))
    sums = np.zeros(len(x))
    if not num_nearest:
        return sums
    if len(rows) <= AROUND * num_nearest:
        for part in blocks(len(x), len(rows)):
            sums[part] = _pushed(space, x[part], cluster[part], rows, cluster[rows], num_nearest, params)
        return sums
    order = cluster.argsort(kind="stable")
    members = np.split(order, np.bincount(cluster).cumsum()[:-1])
    means = np.stack([x[images].mean(axis=0) for images in members])
    for part in blocks(len(members), len(rows)):
        sq_dist = sq_dists(means[part], x[rows])
        around = sq_dist.argpartition(AROUND * num_nearest - 1, axis=1)[:, : AROUND * num_nearest]
        for images, some in zip(members[part], np.sort(around, axis=1), strict=True):
            for few in blocks(len(images), len(some)):
                at = images[few]
                sums[at] = _pushed(space, x[at], cluster[at], rows[some], cluster[rows[some]], num_nearest, params)
    return sums


def _pushed(
    space: Space,
    x: Float32[ndarray, "b d"],
    cluster: Int64[ndarray, " b"],
    rows: Int64[ndarray, " k"],
    of: Int64[ndarray, " k"],
    num_nearest: int,
    params: Usl,
) -> Float[ndarray, " b"]:
    sq_dist = np.maximum(sq_dists(x, space.centred[rows]), space.copy_sq_dist, dtype=np.float32)
    sq_dist[cluster[:, None] == of] = np.inf
    if num_nearest < len(rows):
        sq_dist.partition(num_nearest - 1, axis=1)
        sq_dist = sq_dist[:, :num_nearest]
    if params.horizon.kind == "radius":
        sq_dist[sq_dist >= params.horizon.value] = np.inf
    # In units of copy_sq_dist every power is at most 1, so float32 cannot overflow.
    sq_dist /= space.copy_sq_dist
    # CIFAR-10's α by way of the square root: a third of the time of a power.
    inverse = 1 / np.sqrt(sq_dist) if params.alpha == 0.5 else np.power(sq_dist, -params.alpha)
    return inverse.sum(axis=1, dtype=np.float64) * space.copy_sq_dist**-params.alpha
