"""RDSS: kernel herding of a representative and diverse set (Shao et al., NeurIPS 2024, sections 4 and 6, Algorithm 1).

Letters as there: μ is the mean kernel of an image with all images, S that with the picks so far, α trades the two off.
"""

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray
from pydantic import Field

from pipeline.base import rng
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector
from pipeline.select.sphere import Sphere
from pipeline.select.taken import filled_up
from pipeline.vectors.geometry import sq_dists
from pipeline.vectors.rows import sample

MEDIAN_IMAGES = 1000  # between which the median of the distances is taken, at most


class Rdss(Selector):
    """Each pick is the free image of least S - αμ: Frank-Wolfe steps on the α-MMD of picks and images, none repeated.

    Rows are brought to unit length first. The kernel is exp(-sq_dist / σ²), σ being `bandwidth` times the median
    distance of two different images. α = 1 - 1 / sqrt(|L| + B), L being the labelled rows, which count as picks made
    before; for a single pick that would be 0, where all images tie, and is 1. Scores are αμ - S as a pick was made, or
    an earlier pick's if that was lower. Departure: copies of picked or labelled images wait until nothing else is left;
    `farthest` images come last. Approximations: μ is the mean over `sample` images where there are more, the median is
    that of at most 1,000. A pick costs n distances. Chance is in these two samples alone: where they hold all images,
    every seed picks the same.
    """

    bandwidth: float = Field(ge=1e-3)  # σ, as a multiple of the median distance
    sample: int = Field(ge=1)  # images whose mean kernel stands for that of all, at most

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        sphere, n = Sphere.of(pool.x), len(pool.x)
        some = sample(n, MEDIAN_IMAGES, rng.stream(seed, "select", "rdss", "median"))
        scale = self.bandwidth**2 * median_sq_dist(sphere, some)
        sampled = sample(n, self.sample, rng.stream(seed, "select", "rdss"))
        mu = sphere.mean_kernel(sampled, scale)
        total = len(pool.labelled) + budget
        alpha = 1 - total**-0.5 if total > 1 else 1.0
        rows, scores = herded(pool, sphere, alpha * mu, scale, budget)
        about = {"sample": len(sampled), "sigma": scale**0.5, "alpha": alpha}
        return filled_up(pool, rows, np.minimum.accumulate(scores), budget, about, last=float(scores.min(initial=0)))


def median_sq_dist(sphere: Sphere, rows: Int64[ndarray, " m"]) -> float:
    """The median squared distance of two different images among `rows`; 1 where there are no two."""
    apart = sq_dists(sphere.x[rows], sphere.x[rows])
    apart = apart[apart >= sphere.copy_sq_dist]
    return float(np.median(apart)) if apart.size else 1.0


def herded(
    pool: Pool, sphere: Sphere, goal: Float[ndarray, " n"], scale: float, count: int
) -> tuple[Int64[ndarray, " b"], Float[ndarray, " b"]]:
    """`count` rows, fewer where only copies are left, of largest goal - S as each is picked; and that difference."""
    free, mean = pool.free.copy(), np.zeros(len(goal))
    rows: list[int] = []
    scores: list[float] = []
    for made in range(len(pool.labelled) + count):
        if made < len(pool.labelled):
            row = int(pool.labelled[made])
        elif free.any():
            row = int(np.where(free, goal - mean, -np.inf).argmax())
            rows.append(row)
            scores.append(goal[row] - mean[row])
        else:
            break
        free &= ~sphere.copies_of(row)
        mean += (np.exp(-sphere.sq_dist(row) / np.float32(scale)) - mean) / (made + 1)
    return np.array(rows, np.int64), np.array(scores, np.float64)
