"""USL: dense images, one a cluster, kept apart by a regulariser (Wang, Lian and Yu, ECCV 2022, section 3.1).

Letters as there: rep is the density, Reg the regulariser, λ `weight`, α `alpha`, h `horizon`, m `momentum`, T `rounds`.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy import ndarray
from pydantic import Field, model_validator

from pipeline import rng
from pipeline.params import Block
from pipeline.select.geometry import centred, resolution, sq_dists
from pipeline.select.neighbours import Lloyd, kmeans, mean_sq_dist
from pipeline.select.selector import Picks, Selector, best_of_each, from_clusters

BLOCK = 1 << 22  # distances of images to picks in memory at a time: 16 MB


class Horizon(Block):
    """Which picks of other clusters push an image away: those at a sq_dist below `value`, or the `value` nearest."""

    kind: Literal["radius", "nearest"]
    value: float = Field(gt=0)

    @model_validator(mode="after")
    def _whole(self) -> "Horizon":
        if self.kind == "nearest" and self.value != int(self.value):
            raise ValueError("a whole number of nearest picks")
        return self


class Usl(Lloyd, Selector):
    """k-means into `budget` clusters, and from each the image that is dense and far from the other clusters' picks.

    Distances enter squared throughout, as FAISS gives them and the authors' code uses them: α applies to sq_dist.
    Departures: k-means starts from k-means++ and is restarted; sq_dists are raised to `resolution` before they are
    inverted, so that duplicates give large numbers and not infinite ones; clusters that come out empty are made up for
    by `from_clusters`, which also orders the picks and says what their scores are.
    """

    neighbours: int = Field(ge=1)  # K, the image itself among them; all images, where there are fewer
    weight: float = Field(ge=0)
    alpha: float = Field(gt=0)
    horizon: Horizon
    momentum: float = Field(ge=0, lt=1)
    rounds: int = Field(ge=0)

    def select(self, x: Float32[ndarray, "n d"], budget: int, seed: int) -> Picks:
        """See `Selector`."""
        cluster = kmeans(x, budget, self, rng.number(seed, "select", "usl")).cluster
        x = centred(x)
        rep = density(x, self.neighbours)
        return from_clusters(x, regularised(x, cluster, rep, self), cluster, budget)


def density(x: Float32[ndarray, "n d"], neighbours: int) -> Float[ndarray, " n"]:
    """rep: the inverse of the mean sq_dist to the nearest `neighbours` rows, itself included (eq. 2); x is centred."""
    mean = mean_sq_dist(x, min(neighbours, len(x)))
    return 1 / np.maximum(mean, resolution(x)).astype(np.float64)


def regularised(
    x: Float32[ndarray, "n d"], cluster: Int64[ndarray, " n"], rep: Float[ndarray, " n"], params: Usl
) -> Int64[ndarray, " k"]:
    """The row picked from each cluster after T rounds of argmax rep - λ Reg (eqs. 5 to 7); x is centred.

    Before the first round it is the row of highest rep; on ties the lowest row.
    """
    rows = best_of_each(cluster, rep)
    reg = np.zeros(len(x))
    for _ in range(params.rounds if params.weight > 0 and len(rows) > 1 else 0):
        reg = params.momentum * reg + (1 - params.momentum) * closeness(x, cluster, rows, params)
        rows = best_of_each(cluster, rep - params.weight * reg)
    return rows


def closeness(
    x: Float32[ndarray, "n d"], cluster: Int64[ndarray, " n"], rows: Int64[ndarray, " k"], params: Usl
) -> Float[ndarray, " n"]:
    """New Reg: the sum of 1 / sq_dist^α over the picks `rows` of other clusters within the horizon; x is centred."""
    floor, picks = resolution(x), x[rows]
    nearest = int(params.horizon.value) if params.horizon.kind == "nearest" else len(rows)
    step = max(1, BLOCK // len(rows))
    sums = np.empty(len(x))
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        sq_dist = np.maximum(sq_dists(x[part], picks), floor, dtype=np.float32)
        sq_dist[np.arange(len(sq_dist)), cluster[part]] = np.inf  # its own cluster's pick does not count
        if nearest < len(rows):
            sq_dist.partition(nearest - 1, axis=1)
            sq_dist = sq_dist[:, :nearest]
        if params.horizon.kind == "radius":
            sq_dist[sq_dist >= params.horizon.value] = np.inf
        # In units of the floor every power is at most 1, so float32 cannot overflow.
        sums[part] = np.power(sq_dist / floor, -params.alpha).sum(axis=1, dtype=np.float64)
    return sums * floor**-params.alpha
