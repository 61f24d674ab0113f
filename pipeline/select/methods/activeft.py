"""ActiveFT: free centroids drawn to the images and away from each other (Xie et al., CVPR 2023).

Letters as there: θ are the centroids, τ is the `temperature`.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Float64, Int64
from numpy import ndarray
from pydantic import Field

from pipeline.base import rng
from pipeline.select.by_cluster import from_clusters
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector
from pipeline.select.sphere import Sphere
from pipeline.vectors.geometry import assign, unit
from pipeline.vectors.rows import blocks, sample

if TYPE_CHECKING:
    from torch import Tensor


class ActiveFt(Selector):
    """The image nearest to each of as many centroids as the budget, which start at random images and are trained.

    Labelled images are centroids that stay where they are: images may go to them, and they repel. Rows are brought to
    unit length first. Departures: if there are more images than `sample`, each step sees so many drawn anew; no two
    copies of an image are taken. Order and scores: `from_clusters`, the clusters being the images nearest to each pick.
    A step costs sample times centroids similarities.
    """

    temperature: float = Field(ge=1e-3)  # τ, that cosines are divided by
    learning_rate: float = Field(gt=0)  # of Adam
    steps: int = Field(ge=0)
    sample: int = Field(ge=1)  # images a step, at most

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        chance = rng.stream(seed, "select", "activeft")
        x = unit(pool.x)
        start = x[chance.choice(np.flatnonzero(pool.free), budget, replace=False)].astype(np.float64)
        theta = trained(x, start, x[pool.labelled].astype(np.float64), self, chance)
        rows = images_of(pool, Sphere.of(x), theta)
        centred = pool.space.centred
        cluster, _ = assign(centred, centred[np.concatenate([rows, pool.labelled])])
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
    import torch

    theta = torch.tensor(start, requires_grad=True)
    adam = torch.optim.Adam([theta], params.learning_rate)
    for _ in range(params.steps):
        rows = sample(len(x), params.sample, chance)
        adam.zero_grad()
        loss_and_gradient(theta, fixed, x if len(rows) == len(x) else x[rows], params.temperature)
        adam.step()
    return theta.detach().numpy()


def loss_and_gradient(
    theta: "Tensor", fixed: Float64[ndarray, "l d"], x: Float32[ndarray, "n d"], temperature: float
) -> float:
    """-mean_i max_j cos(x_i, θ_j) / τ + mean_j log sum_{k != j} exp(cos(θ_j, θ_k) / τ); adds its gradient to θ's.

    j and k run over `theta` and `fixed`; the rows of `fixed` and of x have unit length.
    """
    import torch
    import torch.nn.functional as F

    centroids = torch.cat([F.normalize(theta), torch.from_numpy(fixed)])
    leaf = centroids.detach().requires_grad_()  # blocks of similarities add their gradient here
    nearest, _ = assign(x, leaf.detach().numpy().astype(np.float32))
    sums = torch.zeros_like(leaf).index_add_(0, torch.from_numpy(nearest), torch.from_numpy(x).double())
    attraction = -(sums * leaf).sum() / (len(x) * temperature)
    attraction.backward()
    loss = attraction.item()
    for part in blocks(len(leaf), 2 * len(leaf)) if len(leaf) > 1 else ():
        similarity = leaf[part] @ leaf.T / temperature
        itself = torch.arange(part.start, part.stop)[:, None] == torch.arange(len(leaf))
        repulsion = similarity.masked_fill(itself, -torch.inf).logsumexp(dim=1).sum() / len(leaf)
        repulsion.backward()
        loss += repulsion.item()
    centroids.backward(leaf.grad)
    return loss


def images_of(pool: Pool, sphere: Sphere, theta: Float64[ndarray, "b d"]) -> Int64[ndarray, " r"]:
    """For each centroid in turn the free row of largest cosine, less those taken and copies of them and the labelled.

    The lowest row on ties; fewer rows if only copies are left.
    """
    free = pool.free.copy()
    rows: list[int] = []
    for row in pool.labelled.tolist():
        free &= ~sphere.copies_of(row)
    for centroid in theta.astype(np.float32):
        if free.any():
            # The rows lack their mean here: that takes as much from the cosine of each.
            row = int(np.where(free, sphere.x @ centroid, -np.inf).argmax())
            rows.append(row)
            free &= ~sphere.copies_of(row)
    return np.array(rows, np.int64)
