"""MaxHerding: greedy coverage under a Gaussian kernel (Bae et al. 2024)."""

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy import ndarray
from pydantic import Field

from pipeline.base import rng
from pipeline.base.params import Block
from pipeline.select import geometry
from pipeline.select.geometry import lowered, spans
from pipeline.select.greedy import lazy_greedy
from pipeline.select.kernel import Sphere, sample
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector, farthest


class Herding(Block):
    """The params of coverage under a kernel, part of the block of each selector that herds."""

    sigma: float = Field(ge=1e-3)  # the kernel is exp(-(distance / sigma)^2)
    sample: int = Field(ge=1)  # images that the mean is taken over, at most


class MaxHerding(Herding, Selector):
    """Each pick is the image that adds the most to the mean over all images of max_s exp(-(|x - s| / σ)^2).

    The max is over picks and labelled rows; rows are brought to unit length first. Chance is in the sample alone: where
    it holds all images, every seed picks the same. See `herd`.
    """

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        """See `Selector`."""
        return herd(pool, pool.x, np.ones(len(pool.x)), self, budget, rng.stream(seed, "select", "maxherding"))


def herd(
    pool: Pool,
    x: Float32[ndarray, "n d"],
    weight: Float[ndarray, " n"],
    params: Herding,
    budget: int,
    chance: np.random.Generator,
) -> Picks:
    """Greedy picks for the mean over the images of their weight, at least 0, times max_s of the kernel on `x`.

    A pick's score is what it adds; greedy picks reach 1 - 1/e of the best set's mean. Exact up to `sample` images,
    labelled and barred ones too; beyond, so many drawn at random stand for all in the mean, while every free row stays
    a candidate. Copies of picked or labelled images gain nothing; where nothing is left to gain, the images `farthest`
    from all follow, score 0. Costs n times the sample kernel values, some 7 to 9 times over on 60,000 vectors: of the
    later gains few are computed again (`lazy_greedy`), of the first, which fall the most, almost all.
    """
    sphere = Sphere.of(x)
    seen = sample(len(x), params.sample, chance)
    share = (weight[seen] / len(seen)).astype(np.float32)
    targets, scale = sphere.right[seen], np.float32(params.sigma**2)
    cover, free = np.zeros(len(seen), np.float32), pool.free.copy()

    def kernel(rows: Int64[ndarray, " r"], points: slice) -> Float32[ndarray, "r p"]:
        out = lowered(sphere.x[rows]) @ targets[points].T
        out /= -scale
        return np.exp(np.minimum(out, 0, out=out), out=out)

    def cover_by(row: int) -> None:
        np.maximum(cover, kernel(np.array([row]), slice(None))[0], out=cover)
        free[sphere.sq_dist(row) <= sphere.floor] = False

    def gains_of(rows: Int64[ndarray, " r"]) -> Float[ndarray, " r"]:
        gains = np.zeros(len(rows))
        for points in spans(len(seen), geometry.POINTS):
            more = kernel(rows, points)
            more -= cover[points]
            gains += np.einsum("rp,p->r", np.maximum(more, 0, out=more), share[points])
        return np.where(free[rows], gains, 0)

    for row in pool.labelled.tolist():
        cover_by(row)
    bounds = np.full(len(x), -np.inf)
    for part in spans(len(x), geometry.QUERIES):
        bounds[part] = gains_of(np.arange(len(x))[part])
    rows, gains = lazy_greedy(np.where(free, bounds, -np.inf), gains_of, cover_by, budget)
    rows, gains = rows[gains > 0], gains[gains > 0]
    more, _ = farthest(pool, rows, budget - len(rows))
    return Picks(np.concatenate([rows, more]), np.concatenate([gains, np.zeros(len(more))]), {"sample": len(seen)})
