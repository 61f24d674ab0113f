"""USL-T: clusters learnt by a local and a global term (Wang, Lian and Yu, ECCV 2022), on frozen vectors.

Letters as there: p̄ is the running mean prediction, a the `adjust`, t the `sharpen`, τ the `confidence`, λ the `weight`.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy import ndarray
from pydantic import Field

from pipeline.base import rng
from pipeline.base.errors import TrainingError
from pipeline.select.clustering import Lloyd, kmeans
from pipeline.select.geometry import spans, unit
from pipeline.select.kernel import distinct
from pipeline.select.learn import Adam, directions, log_softmax, through_directions
from pipeline.select.pool import Pool, Space
from pipeline.select.selector import Picks, Selector, best_of_each, from_clusters, uncovered

BLOCK = 1 << 22  # logits of all images in memory at a time: 16 MB


class UslT(Lloyd, Selector):
    """From each cluster that the best head learnt, and that holds no labelled image, the most confident image.

    A head gives the logits `scale` times cosine, of one weight row for each labelled image and pick. Departures: the
    vectors are frozen, so the strong view is the vector under dropout, the weak one the vector as it is; heads share
    nothing then, and the one of the least loss is used in place of the first; weights start at the centroids of
    k-means, so that hundreds of steps do for what took hundreds of epochs; no class weights, no weight decay, no
    clusters seeded anew. Rows are brought to unit length first. Order and scores: `from_clusters`.
    """

    heads: int = Field(ge=1)
    neighbours: int = Field(ge=1)  # of an image, itself left out, of which the local term draws one
    scale: float = Field(gt=0)
    adjust: float = Field(ge=0)
    sharpen: float = Field(gt=0)
    confidence: float = Field(ge=0, lt=1)
    weight: float = Field(ge=0)  # of the local term
    dropout: float = Field(ge=0, lt=1)
    momentum: float = Field(ge=0, lt=1)  # share of the old in p̄
    learning_rate: float = Field(gt=0)  # of Adam
    steps: int = Field(ge=0)
    batch_size: int = Field(ge=1)

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        """See `Selector`."""
        x = unit(pool.x)
        chance = rng.stream(seed, "select", "uslt")
        anchors = chance.integers(len(x), size=(self.steps, min(self.batch_size, len(x))))
        partners = drawn_neighbours(pool.space, anchors, self.neighbours, chance)
        found = []
        for head in range(self.heads):
            number = rng.number(seed, "select", "uslt", head)
            start = centroids(x, budget + len(pool.labelled), self, number, pool.space.search.memory_mb)
            found.append(trained(x, start, anchors, partners, self, rng.stream(number, "dropout")))
        weight, loss = min(found, key=lambda head: head[1])
        cluster, confidence = predictions(x, weight, self.scale)
        rows = distinct(pool, best_of_each(cluster, confidence, uncovered(pool, cluster)))
        return replace(from_clusters(pool, rows, cluster, budget), about={**pool.space.about, "loss": loss})


def drawn_neighbours(
    space: Space, anchors: Int64[ndarray, "s b"], k: int, chance: np.random.Generator
) -> Int64[ndarray, "s b"]:
    """For each of the rows `anchors` one of its k nearest other rows at random; itself where none is found."""
    rows, place = np.unique(anchors, return_inverse=True)
    k = min(k + 1, len(space.x))
    found = np.full((len(rows), k), -1, np.int32)
    for part, _, row in space.near(k).nearest(k, rows) if len(rows) else ():
        # In descending order, what is missing last: the order in which neighbours are found must not matter.
        found[np.searchsorted(rows, part)] = -np.sort(-np.where(row == part[:, None], -1, row), axis=1)
    count = (found >= 0).sum(axis=1)[place.ravel()]
    drawn = found[place.ravel(), (chance.random(anchors.size) * count).astype(np.int64)].reshape(anchors.shape)
    return np.where(drawn < 0, anchors, drawn)


def centroids(x: Float32[ndarray, "n d"], k: int, params: Lloyd, seed: int, memory_mb: int) -> Float32[ndarray, "k d"]:
    """The directions of k k-means centroids; of rows at random in place of clusters that came out empty."""
    cluster = kmeans(x, k, params, seed, memory_mb).cluster
    order = cluster.argsort(kind="stable")
    sums = np.add.reduceat(x[order], np.unique(cluster[order], return_index=True)[1])
    rest = rng.stream(seed, "empty").integers(len(x), size=k - len(sums))
    return unit(np.concatenate([sums, x[rest]]))


def trained(
    x: Float32[ndarray, "n d"],
    weight: Float32[ndarray, "k d"],
    anchors: Int64[ndarray, "s b"],
    partners: Int64[ndarray, "s b"],
    params: UslT,
    chance: np.random.Generator,
) -> tuple[Float32[ndarray, "k d"], float]:
    """The weights after all steps, and the mean loss over the last tenth of these."""
    adam, prior = Adam(weight.copy(), params.learning_rate), np.full(len(weight), 1 / len(weight), np.float32)
    losses = []
    for rows, partner in zip(anchors, partners, strict=True):
        anchor = x[rows]
        kept = chance.random(anchor.shape, np.float32) >= params.dropout
        strong = anchor * kept / np.float32(1 - params.dropout)
        # A product of two finite rows was once seen to raise the flag of an invalid value: a BLAS may compute in lanes
        # that hold whatever memory held. A loss that is not finite is found below.
        with np.errstate(invalid="ignore"):
            loss, gradient, mean = loss_and_gradient(adam.value, anchor, x[partner], strong, prior, params)
        adam.step(gradient)
        prior += np.float32(1 - params.momentum) * (mean - prior)
        losses.append(loss)
    if not np.isfinite(losses).all():
        raise TrainingError(f"select.uslt: expected finite losses, got {next(v for v in losses if not np.isfinite(v))}")
    return adam.value, float(np.mean(losses[-max(1, len(losses) // 10) :])) if losses else 0.0


def loss_and_gradient(
    weight: Float[ndarray, "k d"],
    anchor: Float[ndarray, "b d"],
    neighbour: Float[ndarray, "b d"],
    strong: Float[ndarray, "b d"],
    prior: Float[ndarray, " k"],
    params: UslT,
) -> tuple[float, Float[ndarray, "k d"], Float[ndarray, " k"]]:
    """Global + λ local loss, its gradient for the weights, and the mean prediction on the anchors.

    Local: KL(sharpened softmax(z_neighbour - a log p̄) || softmax(z_anchor)), its first part a constant. Global: the
    cross-entropy of the strong view to the argmax on the anchor, a constant too, where confidence > τ. Both are means
    over the batch.
    """
    u, length = directions(weight)
    log_q = log_softmax(params.scale * (anchor @ u.T))
    log_strong = log_softmax(params.scale * (strong @ u.T))
    log_prior = np.log(np.maximum(prior, np.finfo(np.float32).tiny))
    log_target = log_softmax((params.scale * (neighbour @ u.T) - params.adjust * log_prior) / params.sharpen)
    q, target = np.exp(log_q), np.exp(log_target)
    every, label = np.arange(len(anchor)), log_q.argmax(axis=1)
    sure = q[every, label] > params.confidence
    local = float(np.einsum("bk,bk->", target, log_target - log_q)) / len(anchor)
    loss = params.weight * local - float(log_strong[every, label] @ sure) / len(anchor)
    wrong = np.exp(log_strong)
    wrong[every, label] -= 1
    wrong *= sure[:, None]
    gradient = params.scale / len(anchor) * (params.weight * ((q - target).T @ anchor) + wrong.T @ strong)
    return loss, through_directions(gradient, u, length), q.mean(axis=0)


def predictions(
    x: Float32[ndarray, "n d"], weight: Float32[ndarray, "k d"], scale: float
) -> tuple[Int64[ndarray, " n"], Float[ndarray, " n"]]:
    """Each row's cluster, the lowest on ties, and the log of its probability, to which float32 does not say 1 early."""
    right = scale * unit(weight).T
    cluster, confidence = np.empty(len(x), np.int64), np.empty(len(x))
    for part in spans(len(x), max(1, BLOCK // len(weight))):
        z = x[part] @ right
        own, every = z.argmax(axis=1), np.arange(len(z))
        z -= z[every, own][:, None]
        np.exp(z, out=z)
        z[every, own] = 0
        cluster[part], confidence[part] = own, -np.log1p(z.sum(axis=1, dtype=np.float64))
    return cluster, confidence
