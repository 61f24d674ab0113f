"""Greedy coverage under a Gaussian kernel: what MaxHerding and UHerding share (Bae et al. 2024, 2025)."""

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy import ndarray
from pydantic import Field

from pipeline.base.params import Block
from pipeline.select.greedy import lazy_greedy
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks
from pipeline.select.sphere import Sphere
from pipeline.select.taken import filled_up
from pipeline.vectors import geometry
from pipeline.vectors.geometry import left_factor
from pipeline.vectors.rows import sample, spans


class Herding(Block):
    """The params of coverage under a kernel."""

    sigma: float = Field(ge=1e-3)  # the kernel is exp(-(distance / sigma)^2) on unit rows
    sample: int = Field(ge=1)  # images that the mean is taken over, at most


def herd(
    pool: Pool,
    x: Float32[ndarray, "n d"],
    weight: Float[ndarray, " n"],
    params: Herding,
    budget: int,
    chance: np.random.Generator,
) -> Picks:
    """Greedy picks for the mean over the images of their weight, at least 0, times max_s of the kernel on `x`.

    A pick's score is what it adds; greedy picks reach 1 - 1/e of the best set's mean. The mean is exact up to `sample`
    images, labelled and barred ones among them. If there are more, so many drawn at random stand for all in the mean,
    and every free row stays a candidate. Copies of picked or labelled images gain nothing; if nothing is left to gain,
    the images `farthest` from all follow at score 0. The cost is n times the sample kernel values, some 7 to 9 times
    over on 60,000 vectors: almost all first gains are computed again, as they fall the most, and few of the later ones.
    """
    sphere = Sphere.of(x)
    sampled = sample(len(x), params.sample, chance)
    share = (weight[sampled] / len(sampled)).astype(np.float32)
    targets, scale = sphere.right[sampled], np.float32(params.sigma**2)
    cover, free = np.zeros(len(sampled), np.float32), pool.free.copy()

    def kernel(rows: Int64[ndarray, " r"], points: slice) -> Float32[ndarray, "r p"]:
        out = left_factor(sphere.x[rows]) @ targets[points].T
        out /= -scale
        return np.exp(np.minimum(out, 0, out=out), out=out)

    def cover_by(row: int) -> None:
        np.maximum(cover, kernel(np.array([row]), slice(None))[0], out=cover)
        free[sphere.copies_of(row)] = False

    def gains_of(rows: Int64[ndarray, " r"]) -> Float[ndarray, " r"]:
        gains = np.zeros(len(rows))
        for points in spans(len(sampled), geometry.POINTS):
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
    return filled_up(pool, rows, gains, budget, {"sample": len(sampled)})
