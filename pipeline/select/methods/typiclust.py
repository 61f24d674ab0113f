"""TypiClust: the most typical image of each cluster (Hacohen, Dekel and Weinshall, ICML 2022, section 3.2)."""

import heapq
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int64
from numpy import ndarray
from pydantic import Field

from pipeline.base import rng
from pipeline.select.pool import Pool, Space
from pipeline.select.selector import Picks, Selector
from pipeline.select.sphere import on_sphere
from pipeline.select.taken import Taken, filled_up
from pipeline.vectors.clustering import KMeansParams, kmeans
from pipeline.vectors.geometry import k_smallest
from pipeline.vectors.neighbours import InvertedLists


class TypiClust(KMeansParams, Selector):
    """k-means of unit rows; again and again the cluster with the fewest labelled, of these the largest, gives a pick.

    It gives the image of lowest mean sq_dist to its nearest within the cluster: the paper's typicality is the inverse
    of that, and picks count as labelled. There are as many clusters as labelled images and picks together, up to
    `max_clusters`, beyond which clusters give several picks. A pick's score is the share of the images that are in its
    cluster, less the number that had a label there before it, so it falls along the order. Departures: typicality is
    computed once, where the authors' code does so again without each pick; a copy of an image that is picked or
    labelled is passed over; where clusters have nothing more to give, the images `farthest` from all follow, with the
    lowest score. Neighbours are exact in clusters of up to `search.exact_most` images.
    """

    max_clusters: int = Field(ge=1)
    dropped: int = Field(ge=0)  # clusters of so many images or fewer give no pick, unless there are no others
    neighbours: int = Field(ge=1)  # without the image itself; half of the cluster, where that is fewer

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        ball = on_sphere(pool)
        number, k = rng.number(seed, "select", "typiclust"), min(budget + len(pool.labelled), self.max_clusters)
        cluster = kmeans(ball.x, k, self, number, pool.space.search.memory_mb).cluster
        rows, scores, about = in_turns(ball, cluster, budget, self)
        about = {"clusters": int(cluster.max()) + 1, "given_by_clusters": len(rows), **about}
        return filled_up(pool, rows, np.array(scores, np.float64), budget, about, last=min(scores, default=0.0))


def in_turns(
    pool: Pool, cluster: Int64[ndarray, " n"], budget: int, params: TypiClust
) -> tuple[Int64[ndarray, " b"], list[float], Mapping[str, Any]]:
    """The picks that clusters give, at most the budget; their scores; how neighbours were found in the worst case."""
    size = np.bincount(cluster)
    labelled = np.bincount(cluster[pool.labelled], minlength=len(size))
    may = np.bincount(cluster[pool.free], minlength=len(size)) > 0
    if (may & (size > params.dropped)).any():
        may &= size > params.dropped
    members = np.split(cluster.argsort(kind="stable"), size.cumsum()[:-1])
    turns = [(int(labelled[c]), -int(size[c]), int(c)) for c in np.flatnonzero(may)]
    heapq.heapify(turns)
    taken, queues = Taken.of(pool, budget), dict[int, Iterator[int]]()
    abouts: list[Mapping[str, Any]] = []
    rows: list[int] = []
    scores: list[float] = []
    while turns and len(rows) < budget:
        count, fewer, c = heapq.heappop(turns)
        if c not in queues:
            order, about = most_typical(pool.space, members[c], params.neighbours)
            queues[c] = taken.take_distinct(order[pool.free[order]])
            abouts.append(about)
        row = next(queues[c], None)
        if row is not None:
            rows.append(row)
            scores.append(-fewer / len(cluster) - count)
            heapq.heappush(turns, (count + 1, fewer, c))
    worst = min(abouts, key=lambda about: about.get("recall", 1))
    return np.array(rows, np.int64), scores, worst


def most_typical(
    space: Space, rows: Int64[ndarray, " m"], neighbours: int
) -> tuple[Int64[ndarray, " m"], Mapping[str, Any]]:
    """The rows of a cluster by falling typicality, on ties by number; and how their neighbours were found."""
    k = min(neighbours, len(rows) // 2)
    search = InvertedLists.build(space.centred[rows], space.search).search(k + 1, space.search)
    mean = np.empty(len(rows))
    for part, candidates in search.blocks():
        sq_dist, _ = k_smallest(candidates, len(part), k + 1)  # the row itself is one of them, at 0
        finite = np.isfinite(sq_dist)
        mean[part] = np.where(finite, sq_dist, 0).sum(axis=1) / np.maximum(finite.sum(axis=1) - 1, 1)
    return rows[mean.argsort(kind="stable")], search.about
