"""ActiveFT: free centroids drawn to the images and away from each other (Xie et al., CVPR 2023).

Letters as there: θ are the centroids, τ is the `temperature`.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy import ndarray
from pydantic import Field

from pipeline.base import rng
from pipeline.select.geometry import assign, spans, unit
from pipeline.select.kernel import Sphere, sample
from pipeline.select.learn import Adam, directions, through_directions
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector, from_clusters

BLOCK = 1 << 21  # similarities of centroids in memory at a time: 16 MB


class ActiveFt(Selector):
    """The image nearest to each of as many centroids as the budget, which start at random images and are trained.

    Labelled images are centroids that stay where they are: images may go to them, and they repel. Rows are brought to
    unit length first. Departures: where there are more images than `sample`, each step sees so many drawn anew; no two
    copies of an image are taken. Order and scores: `from_clusters`, the clusters being the images nearest to each pick.
    A step costs sample times centroids similarities.
    """

    temperature: float = Field(ge=1e-3)
    learning_rate: float = Field(gt=0)  # of Adam
    steps: int = Field(ge=0)
    sample: int = Field(ge=1)  # images a step, at most

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        """See `Selector`."""
        chance = rng.stream(seed, "select", "activeft")
        x = unit(pool.x)
        start = x[chance.choice(np.flatnonzero(pool.free), budget, replace=False)].astype(np.float64)
        theta = trained(x, start, x[pool.labelled].astype(np.float64), self, chance)
        rows = nearest_images(pool, Sphere.of(x), theta)
        own = pool.space.centred
        cluster, _ = assign(own, own[np.concatenate([rows, pool.labelled])])
        about = {"images_a_step": min(self.sample, len(x))}
        return replace(from_clusters(pool, rows, cluster, budget), about=about)


def trained(
    x: Float32[ndarray, "n d"],
    start: Float64[ndarray, "b d"],
    fixed: Float64[ndarray, "l d"],
    params: ActiveFt,
    chance: np.random.Generator,
) -> Float64[ndarray, "b d"]:
    """The centroids after all steps from `start`."""
    adam = Adam(start.copy(), params.learning_rate)
    for _ in range(params.steps):
        seen = sample(len(x), params.sample, chance)
        batch = x if len(seen) == len(x) else x[seen]
        adam.step(loss_and_gradient(adam.value, fixed, batch, params.temperature)[1])
    return adam.value


def loss_and_gradient(
    theta: Float64[ndarray, "b d"], fixed: Float64[ndarray, "l d"], x: Float32[ndarray, "n d"], temperature: float
) -> tuple[float, Float64[ndarray, "b d"]]:
    """-mean_i max_j cos(x_i, θ_j) / τ + mean_j log sum_{k != j} exp(cos(θ_j, θ_k) / τ), and its gradient for `theta`.

    j and k run over `theta` and `fixed`; the rows of these and of x have unit length.
    """
    own, length = directions(theta)
    u = np.concatenate([own, fixed])
    nearest, _ = assign(x, u.astype(np.float32))
    order = nearest.argsort(kind="stable")
    taken, starts = np.unique(nearest[order], return_index=True)
    sums = np.zeros_like(u)
    sums[taken] = np.add.reduceat(x[order], starts)
    loss = -float(np.einsum("kd,kd->", sums, u)) / (len(x) * temperature)
    gradient = -sums / (len(x) * temperature)
    for part in spans(len(u), max(1, BLOCK // len(u))) if len(u) > 1 else ():
        share = u[part] @ u.T / temperature
        share[np.arange(len(share)), np.arange(len(u))[part]] = -np.inf
        most = share.max(axis=1, keepdims=True)
        np.exp(share - most, out=share)
        total = share.sum(axis=1, keepdims=True)
        share /= total * len(u)
        loss += float((most + np.log(total)).sum()) / len(u)
        gradient[part] += share @ u / temperature
        gradient += share.T @ u[part] / temperature
    return loss, through_directions(gradient[: len(theta)], own, length)


def nearest_images(pool: Pool, sphere: Sphere, theta: Float64[ndarray, "b d"]) -> Int64[ndarray, " r"]:
    """For each centroid in turn the free row of largest cosine, less those taken and copies of them and the labelled.

    The lowest row on ties; fewer rows where only copies are left.
    """
    free = pool.free.copy()
    rows: list[int] = []
    for row in pool.labelled.tolist():
        free &= sphere.sq_dist(row) > sphere.floor
    for centroid in theta.astype(np.float32):
        if free.any():
            # The rows lack their mean here: that takes as much from the cosine of each.
            row = int(np.where(free, sphere.x @ centroid, -np.inf).argmax())
            rows.append(row)
            free &= sphere.sq_dist(row) > sphere.floor
            free[row] = False
    return np.array(rows, np.int64)
