"""ProbCover: balls of one radius that cover most images (Yehuda, Dekel, Hacohen and Weinshall, NeurIPS 2022).

Letters as there: δ is the radius, π the share of pure balls.
"""

import math
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray
from pydantic import Field

from pipeline.base import rng
from pipeline.select.pool import Pool
from pipeline.select.selector import Picks, Selector
from pipeline.select.sphere import on_sphere
from pipeline.select.taken import filled_up, min_sq_dist
from pipeline.vectors.clustering import KMeansParams, kmeans
from pipeline.vectors.neighbours import NeighbourSearch
from pipeline.vectors.rows import spans

RADIUS_IMAGES = 2000  # images whose balls are looked at to find δ
COUNTED_IMAGES = 500  # images whose balls are counted to choose how many lists are probed
MOST_NEIGHBOURS = 400  # for which these are chosen, at most


class ProbCover(KMeansParams, Selector):
    """Each next pick is the free image with the most images nearer than δ, on unit rows, that are not covered yet.

    Labelled images cover from the start, and so does each pick: a greedy maximum coverage, at least 1 - 1/e of the best
    (Nemhauser et al. 1978). δ is given, or the largest at which the share `purity` of the balls holds images of one
    k-means cluster only, `clusters` being a guess of the number of classes. A ball is that pure up to the nearest image
    of another cluster, so δ is a quantile of these distances, over 2000 images drawn at random. A pick's score is the
    share of all images that it newly covers, less the number of times that δ was halved: where no free image covers
    anything new, the paper ends, and here the radius is halved, and covering goes on from what all picks cover at that.
    Copies of picked and labelled images come last. Edges are recomputed, not stored: each image is compared with its
    candidates twice at each radius, whatever the budget is. Beyond `search.exact_most` images only edges within near
    lists count; the record has their share of all edges.
    """

    delta: Literal["auto"] | Annotated[float, Field(gt=0)]
    purity: float = Field(gt=0, le=1)
    clusters: int = Field(ge=1)

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        ball = on_sphere(pool)
        space, n = ball.space, len(pool.x)
        exact = n <= space.search.exact_most
        everything = space.neighbours(1) if exact else NeighbourSearch.exhaustive(space.centred)
        sample = rng.stream(seed, "select", "probcover").permutation(n)[:RADIUS_IMAGES]
        about: dict[str, float | int] = {}
        if self.delta == "auto":
            number, k = rng.number(seed, "select", "probcover", "k-means"), min(self.clusters, n)
            cluster = kmeans(space.x, k, self, number, space.search.memory_mb).cluster
            sq_delta, about["purity"] = pure_radius(everything, cluster, sample, self.purity)
        else:
            sq_delta = self.delta**2
        sq_delta = max(sq_delta, space.copy_sq_dist)
        counted = sample[:COUNTED_IMAGES]
        edges = count_within(everything, counted, sq_delta).sum()
        search = everything
        if not exact:
            search = space.neighbours(min(MOST_NEIGHBOURS, n, max(1, round(edges / len(counted)))))
            about["edges_found"] = round(float(count_within(search, counted, sq_delta).sum() / edges), 4)
        rows, scores, halved, covered = cover(ball, search, sq_delta, budget)
        about |= {"delta": sq_delta**0.5, "halved": halved, "covered": covered, **search.about}
        return filled_up(pool, rows, np.array(scores, np.float64), budget, about, last=-float(halved))


def pure_radius(
    everything: NeighbourSearch, cluster: Int64[ndarray, " n"], sample: Int64[ndarray, " s"], purity: float
) -> tuple[float, float]:
    """The square of the largest δ, 2 at most, at which that share of the sample's balls is pure; the share then."""
    gaps: list[Float32[ndarray, " b"]] = []
    for rows, candidates in everything.blocks(sample):
        gap = np.full(len(rows), 4, np.float32)
        for others, sq_dist in candidates:
            sq_dist[cluster[rows][:, None] == cluster[others]] = np.inf
            np.minimum(gap, sq_dist.min(axis=1), out=gap)
        gaps.append(np.maximum(gap, 0))
    gap = np.sort(np.concatenate(gaps))
    sq_delta = gap[len(gap) - math.ceil(purity * len(gap) - 1e-9)]
    return float(sq_delta), float((gap >= sq_delta).mean())


def cover(
    pool: Pool, search: NeighbourSearch, sq_delta: float, budget: int
) -> tuple[Int64[ndarray, " b"], list[float], int, float]:
    """The greedy picks until the radius is nothing; their scores; how often it was halved; the share covered at δ."""
    n, sq_radius, halved = len(pool.x), sq_delta, 0
    sq_gap = min_sq_dist(pool.space.centred, np.arange(n), pool.labelled)
    free = pool.free.copy()
    rows: list[int] = []
    scores: list[float] = []
    while len(rows) < budget and sq_radius >= pool.space.copy_sq_dist:
        degree = count_within(search, np.flatnonzero(sq_gap >= sq_radius), sq_radius)
        degree[~free] = -n
        while len(rows) < budget and degree[row := int(degree.argmax())] > 0:
            rows.append(row)
            scores.append(float(degree[row] / n - halved))
            free[row], degree[row] = False, -n
            count_within(search, newly_covered(search, row, sq_gap, sq_radius), sq_radius, degree, -1)
        if len(rows) < budget:
            sq_radius, halved = sq_radius / 4, halved + 1
    return np.array(rows, np.int64), scores, halved, float((sq_gap < sq_delta).mean())


def newly_covered(
    search: NeighbourSearch, row: int, sq_gap: Float32[ndarray, " n"], sq_radius: float
) -> Int64[ndarray, " c"]:
    """The images that a pick covers and none did before; lowers each image's sq_dist to its nearest pick, `sq_gap`."""
    if search.probed is not None:  # those that have the row among their candidates, not those that it has
        probed = np.flatnonzero((search.probed == search.lists.cell[row]).any(axis=1))
        search = NeighbourSearch(search.lists, np.broadcast_to(probed, (len(search.probed), len(probed))), {})
    new: list[Int64[ndarray, " c"]] = []
    for _, candidates in search.blocks(np.array([row])):
        for others, sq_dist in candidates:
            before = sq_gap[others]
            new.append(others[(sq_dist[0] < sq_radius) & (before >= sq_radius)])
            sq_gap[others] = np.minimum(before, np.maximum(sq_dist[0], 0))
    return np.concatenate(new)


def count_within(
    search: NeighbourSearch,
    rows: Int64[ndarray, " r"],
    sq_radius: float,
    count: Int64[ndarray, " n"] | None = None,
    sign: int = 1,
) -> Int64[ndarray, " n"]:
    """For each image of how many of the `rows` it is a candidate within the radius; `sign` times that is added."""
    count = np.zeros(len(search.lists.x), np.int64) if count is None else count
    for part, candidates in search.blocks(rows):
        for others, sq_dist in candidates:
            within = (sq_dist < sq_radius).view(np.uint8)
            for few in spans(len(part), 255):  # bytes are summed several times as fast as booleans
                count[others] += sign * np.add.reduce(within[few], axis=0, dtype=np.uint8).astype(np.int64)
    return count
