"""USL-T: clusters learnt by a local and a global term (Wang, Lian and Yu, ECCV 2022), on frozen vectors.

Letters as there: p̄ is the running mean prediction, a the `adjust`, t the `sharpen`, τ the `confidence`, λ the `weight`.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy import ndarray
from pydantic import Field

from pipeline.base import rng
from pipeline.base.errors import TrainingError
from pipeline.select.by_cluster import best_of_each, from_clusters, uncovered
from pipeline.select.pool import Pool, Space
from pipeline.select.selector import Picks, Selector
from pipeline.select.taken import Taken
from pipeline.vectors.clustering import KMeansParams, kmeans
from pipeline.vectors.geometry import unit
from pipeline.vectors.rows import blocks

if TYPE_CHECKING:
    from torch import Tensor


class UslT(KMeansParams, Selector):
    """From each cluster that the best head learnt, and that holds no labelled image, the most confident image.

    A head gives the logits `scale` times cosine, of one weight row for each labelled image and pick. Departures: the
    vectors are frozen, so the strong view is the vector under dropout, the weak one the vector as it is; heads share
    nothing then, and the one of the least loss is used in place of the first; weights start at the centroids of
    k-means, so that hundreds of steps do for what took hundreds of epochs; no class weights, no weight decay, no
    clusters seeded anew. Rows are brought to unit length first. Order and scores: `from_clusters`.
    """

    heads: int = Field(ge=1)
    neighbours: int = Field(ge=1)  # of an image, itself left out, of which the local term draws one
    scale: float = Field(gt=0)  # of the cosines that are logits
    adjust: float = Field(ge=0)  # a, the weight of log p̄ that is taken from the target's logits
    sharpen: float = Field(gt=0)  # t, the target's temperature
    confidence: float = Field(ge=0, lt=1)  # τ, above which an image takes part in the global term
    weight: float = Field(ge=0)  # λ, of the local term
    dropout: float = Field(ge=0, lt=1)  # of the strong view
    momentum: float = Field(ge=0, lt=1)  # of p̄
    learning_rate: float = Field(gt=0)  # of Adam
    steps: int = Field(ge=0)
    batch_size: int = Field(ge=1)

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        x = unit(pool.x)
        chance = rng.stream(seed, "select", "uslt")
        anchors = chance.integers(len(x), size=(self.steps, min(self.batch_size, len(x))))
        partners = drawn_neighbours(pool.space, anchors, self.neighbours, chance)
        heads = []
        for head in range(self.heads):
            number = rng.number(seed, "select", "uslt", head)
            start = centroids(x, budget + len(pool.labelled), self, number, pool.space.search.memory_mb)
            heads.append(trained(x, start, anchors, partners, self, rng.stream(number, "dropout")))
        weight, loss = min(heads, key=lambda head: head[1])
        cluster, confidence = predictions(x, weight, self.scale)
        best = best_of_each(cluster, confidence, uncovered(pool, cluster))
        rows = np.array(list(Taken.of(pool, len(best)).take_distinct(best)), np.int64)
        return replace(from_clusters(pool, rows, cluster, budget), about={**pool.space.about, "loss": loss})


def drawn_neighbours(
    space: Space, anchors: Int64[ndarray, "s b"], k: int, chance: np.random.Generator
) -> Int64[ndarray, "s b"]:
    """For each of the rows `anchors` one of its k nearest other rows at random; itself if none is found."""
    rows, place = np.unique(anchors, return_inverse=True)
    k = min(k + 1, len(space.x))
    others = np.full((len(rows), k), -1, np.int32)
    for part, _, row in space.neighbours(k).knn(k, rows) if len(rows) else ():
        # In descending order, what is missing last: the order in which neighbours are found must not matter.
        others[np.searchsorted(rows, part)] = -np.sort(-np.where(row == part[:, None], -1, row), axis=1)
    count = (others >= 0).sum(axis=1)[place.ravel()]
    drawn = others[place.ravel(), (chance.random(anchors.size) * count).astype(np.int64)].reshape(anchors.shape)
    return np.where(drawn < 0, anchors, drawn)


def centroids(
    x: Float32[ndarray, "n d"], k: int, params: KMeansParams, seed: int, memory_mb: int
) -> Float32[ndarray, "k d"]:
    """The directions of k k-means centroids; of rows at random in place of clusters that came out empty."""
    cluster = kmeans(x, k, params, seed, memory_mb).cluster
    order = cluster.argsort(kind="stable")
    sums = np.add.reduceat(x[order], np.unique(cluster[order], return_index=True)[1])
    rest = rng.stream(seed, "empty").integers(len(x), size=k - len(sums))
    return unit(np.concatenate([sums, x[rest]]))


def trained(
    x: Float32[ndarray, "n d"],
    start: Float32[ndarray, "k d"],
    anchors: Int64[ndarray, "s b"],
    partners: Int64[ndarray, "s b"],
    params: UslT,
    chance: np.random.Generator,
) -> tuple[Float32[ndarray, "k d"], float]:
    """The weights after all steps, and the mean loss over the last tenth of these.

    In double precision: in single precision the rounding of a first step is enough for another optimum in the end.
    """
    import torch

    weight = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    prior = torch.full([len(start)], 1 / len(start), dtype=torch.float64)
    adam = torch.optim.Adam([weight], params.learning_rate)
    losses = []
    for rows, partner in zip(anchors, partners, strict=True):
        anchor, neighbour = (torch.from_numpy(x[some]).double() for some in (rows, partner))
        kept = torch.from_numpy(chance.random(anchor.shape, np.float32) >= params.dropout)
        strong = anchor * kept / (1 - params.dropout)
        loss, mean = loss_and_mean(weight, anchor, neighbour, strong, prior, params)
        adam.zero_grad()
        loss.backward()
        adam.step()
        prior.lerp_(mean, 1 - params.momentum)
        losses.append(loss.item())
    if not np.isfinite(losses).all():
        raise TrainingError(f"select.uslt: expected finite losses, got {next(v for v in losses if not np.isfinite(v))}")
    return weight.detach().float().numpy(), float(np.mean(losses[-max(1, len(losses) // 10) :])) if losses else 0.0


def loss_and_mean(
    weight: "Tensor", anchor: "Tensor", neighbour: "Tensor", strong: "Tensor", prior: "Tensor", params: UslT
) -> tuple["Tensor", "Tensor"]:
    """Global + λ local loss, and the mean prediction on the anchors; shapes (k, d), three times (b, d), and (k).

    Local: KL(sharpened softmax(z_neighbour - a log p̄) || softmax(z_anchor)), its first part a constant. Global: the
    cross-entropy of the strong view to the argmax on the anchor, a constant too, if confidence > τ. Both are means
    over the batch.
    """
    import torch
    import torch.nn.functional as F

    direction = params.scale * F.normalize(weight).T
    log_q = F.log_softmax(anchor @ direction, dim=1)
    with torch.no_grad():
        log_prior = prior.clamp(min=torch.finfo(torch.float32).tiny).log()
        log_target = F.log_softmax((neighbour @ direction - params.adjust * log_prior) / params.sharpen, dim=1)
        q = log_q.exp()
        confidence, label = q.max(dim=1)
    local = F.kl_div(log_q, log_target, reduction="batchmean", log_target=True)
    entropy = F.cross_entropy(strong @ direction, label, reduction="none")
    return (entropy * (confidence > params.confidence)).mean() + params.weight * local, q.mean(dim=0)


def predictions(
    x: Float32[ndarray, "n d"], weight: Float32[ndarray, "k d"], scale: float
) -> tuple[Int64[ndarray, " n"], Float[ndarray, " n"]]:
    """Each row's cluster, the lowest on ties, and the log of its probability, exact even if that rounds to 1."""
    right = scale * unit(weight).T
    cluster, confidence = np.empty(len(x), np.int64), np.empty(len(x))
    for part in blocks(len(x), len(weight)):
        z = x[part] @ right
        own, every = z.argmax(axis=1), np.arange(len(z))
        z -= z[every, own][:, None]
        np.exp(z, out=z)
        z[every, own] = 0
        cluster[part], confidence[part] = own, -np.log1p(z.sum(axis=1, dtype=np.float64))
    return cluster, confidence
