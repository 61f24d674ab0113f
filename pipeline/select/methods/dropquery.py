"""DropQuery: images whose predicted class changes under dropout, spread by k-means (Gupta et al., TMLR 2024)."""

from itertools import islice
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray
from pydantic import Field

from pipeline.base import rng
from pipeline.select.by_cluster import best_of_each, coverage_order
from pipeline.select.pool import Outputs, Pool
from pipeline.select.selector import Picks, Selector
from pipeline.select.taken import Taken, farthest
from pipeline.select.uncertainty import blocks_of, logits, margin_uncertainty, of_all_images, outputs_of
from pipeline.vectors.clustering import KMeansParams, kmeans
from pipeline.vectors.geometry import unit


class DropQuery(KMeansParams, Selector):
    """Of the images that dropout makes the model change its mind on, the nearest to each of `budget` centroids.

    Candidates are the free images for which more than half of `masks` predictions with dropout on the features differ
    from the one without. Their features at length 1 are clustered, and in each cluster the image nearest to the
    centroid is picked. Labelled rows do not enter, as in the paper. The picks are ordered by `coverage_order` in these
    features over the candidates, and its gain is the score: how much a pick lowers the mean sq_dist of the candidates,
    each taken for its cluster's pick, to the nearest pick. Where there are fewer candidates or clusters than the
    budget, the most uncertain other images follow at score 0 (by 1 - margin), copies of an image last.
    """

    needs_outputs: ClassVar[bool] = True

    masks: int = Field(ge=1)
    rate: float = Field(gt=0, lt=1)  # of features that a mask sets to 0; the others are divided by 1 - rate

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        outputs = outputs_of(pool, "dropquery")
        changed = 2 * changes(outputs, self.masks, self.rate, seed) > self.masks
        rows = np.flatnonzero(pool.free & changed)
        about = {"candidates": len(rows)}
        gains = np.empty(0)
        if len(rows):
            x = unit(outputs.features[rows])
            number = rng.number(seed, "select", "dropquery", "k-means")
            clusters = kmeans(x, min(budget, len(rows)), self, number, pool.space.search.memory_mb)
            best = best_of_each(clusters.cluster, -clusters.sq_dist, np.ones(len(rows), bool))
            share = np.bincount(clusters.cluster) / len(rows)
            order, gains = coverage_order(x[best], share, np.full(len(best), np.inf, np.float32), budget)
            rows = rows[best[order]]
        value = of_all_images(outputs, margin_uncertainty)
        more = most_uncertain(pool, value, rows, budget - len(rows))
        return Picks(np.concatenate([rows, more]), np.concatenate([gains, np.zeros(len(more))]), about)


def changes(outputs: Outputs, masks: int, rate: float, seed: int) -> Int64[ndarray, " n"]:
    """How many predictions with dropout differ from the one without; each image has its own `masks` masks."""
    streams = [rng.stream(seed, "select", "dropquery", "mask", i) for i in range(masks)]
    count = np.zeros(len(outputs.features), np.int64)
    for part in blocks_of(outputs, len(count)):
        features = outputs.features[part]
        predicted = logits(outputs, features).argmax(axis=1)
        for stream in streams:
            kept = stream.random(features.shape, np.float32) >= rate
            # Divided after the product: so the largest features do not overflow.
            dropped = (logits(outputs, features * kept) - outputs.bias) / (1 - rate) + outputs.bias
            count[part] += dropped.argmax(axis=1) != predicted
    return count


def most_uncertain(
    pool: Pool, value: Float[ndarray, " n"], rows: Int64[ndarray, " k"], count: int
) -> Int64[ndarray, " b"]:
    """`count` free rows that are not among `rows`, of highest value; copies of a pick or labelled row come last."""
    free = pool.free.copy()
    free[rows] = False
    order = np.flatnonzero(free)[np.argsort(-value[free], kind="stable")]
    taken = Taken.of(pool, len(rows) + count)
    taken.add(rows)
    distinct = np.array(list(islice(taken.take_distinct(order), count)), np.int64)
    return np.concatenate([distinct, farthest(pool, np.concatenate([rows, distinct]), count - len(distinct))[0]])
