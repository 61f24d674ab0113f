"""k-means, and nearest neighbours on a GPU: the only file that imports FAISS. On the GPU where FAISS finds one.

Neighbours on a CPU come from `near`, not from `faiss.knn`: the OpenBLAS inside faiss-cpu 1.15 takes newer CPUs for the
oldest it knows, and needs several times as long there. `python -m benchmarks.select` measures both in one run.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import faiss
import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray
from pydantic import Field
from tqdm import tqdm

from pipeline.artifacts.on_disk import Parts
from pipeline.base import rng
from pipeline.base.params import Block
from pipeline.select.geometry import assign, spans, sq_dists, unit

log = logging.getLogger(__name__)
GPU_MOST = 2048  # neighbours that FAISS can find on a GPU
GPU_QUERIES = 65536
FLAT_MOST = 2000  # clusters that are found at one level
BLOCK = 1 << 24  # bytes of rows that go to their centroids at a time; larger blocks are new memory each time
CELLS = 10  # of the first of two levels, whose clusters a row is compared with


class Lloyd(Block):
    """The params of k-means, part of the block of each selector that clusters."""

    iterations: int = Field(ge=1)
    restarts: int = Field(ge=1)  # runs from different starts, of which the best is kept
    spherical: bool  # centroids of unit length and cosine similarity, in place of Euclidean distance


@dataclass(frozen=True)
class Clusters:
    """`cluster[i]` is the cluster of row i, numbered from 0 without gaps: clusters that came out empty do not count.

    `sq_dist` is the row's squared distance to its centroid; of the row brought to unit length, where spherical.
    """

    cluster: Int64[ndarray, " n"]
    sq_dist: Float32[ndarray, " n"]


def version() -> str:
    """FAISS's version."""
    return faiss.__version__


def on_gpu(k: int) -> bool:
    """Whether k neighbours are found on a GPU."""
    return faiss.get_num_gpus() > 0 and k <= GPU_MOST


def knn_gpu(
    x: Float32[ndarray, "n d"], rows: Int64[ndarray, " q"], k: int
) -> Iterator[tuple[Int64[ndarray, " b"], Float32[ndarray, "b k"], Int64[ndarray, "b k"]]]:
    """Blocks of `rows` with the squared distances and rows of their k nearest of x; exact; needs a GPU."""
    resources = faiss.StandardGpuResources()
    for part in spans(len(rows), GPU_QUERIES):
        sq_dist, found = faiss.knn_gpu(resources, x[rows[part]], x, k)
        yield rows[part], np.maximum(sq_dist, 0), found


def kmeans(x: Float32[ndarray, "n d"], k: int, params: Lloyd, seed: int, memory_mb: int) -> Clusters:
    """k-means of all rows into at most k clusters, 1 <= k <= n, from k-means++ starts (Arthur 2007).

    Where spherical, rows are brought to unit length first (Dhillon and Modha 2001); one without a direction stays
    zero. The restart of the best objective is kept. The centroids are learnt from as many rows as a quarter of the
    memory holds, drawn at random where there are more; then every row goes to the nearest. Beyond `FLAT_MOST` clusters
    there are two levels: sqrt(k) clusters, each of them cut into its share of the k; then a row goes to the nearest
    centroid of the `CELLS` clusters of the first level that are nearest to its own. The same on any number of threads.
    """
    cluster, sq_dist = np.empty(len(x), np.int64), np.empty(len(x), np.float32)
    for part, own, gap in learn(x, k, params, seed, memory_mb).nearest(x):
        cluster[part], sq_dist[part] = own, gap
    return Clusters(np.unique(cluster, return_inverse=True)[1].astype(np.int64), sq_dist)


@dataclass(frozen=True)
class Centroids:
    """What k-means learnt: centroids at one level, or at two, where `second` has those into which each is cut."""

    spherical: bool
    first: Float32[ndarray, "f d"]
    second: tuple[Float32[ndarray, "_ d"], ...] | None

    def __len__(self) -> int:
        """How many clusters there are, empty ones among them."""
        return len(self.first) if self.second is None else sum(map(len, self.second))

    def nearest(
        self, x: Float32[ndarray | Parts, "n d"]
    ) -> Iterator[tuple[slice, Int64[ndarray, " b"], Float32[ndarray, " b"]]]:
        """One pass over x: blocks of it with the cluster of each row and the squared distance to its centroid."""
        with tqdm(total=len(x), desc="k-means", disable=None, unit=" images") as bar:
            for part in spans(len(x), max(1, BLOCK // (4 * x.shape[1]))):
                block = unit(x[part]) if self.spherical else x[part]
                yield part, *self._nearest(block)
                bar.update(len(block))

    def _nearest(self, x: Float32[ndarray, "n d"]) -> tuple[Int64[ndarray, " n"], Float32[ndarray, " n"]]:
        if self.second is None:
            return assign(x, self.first)
        cell = assign(x, self.first)[0]
        cluster, sq_dist = np.empty(len(x), np.int64), np.empty(len(x), np.float32)
        order, ends = cell.argsort(kind="stable"), np.bincount(cell, minlength=len(self.first)).cumsum()
        start = np.concatenate([[0], np.cumsum([len(own) for own in self.second])])
        for rows, cells in zip(np.split(order, ends[:-1]), self._near, strict=True):
            if len(rows):
                numbers = np.concatenate([np.arange(start[i], start[i + 1]) for i in cells])
                found, sq_dist[rows] = assign(x[rows], np.concatenate([self.second[i] for i in cells]))
                cluster[rows] = numbers[found]
        return cluster, sq_dist

    @cached_property
    def _near(self) -> Int64[ndarray, "f c"]:
        """For each centroid of the first level the nearest, itself one of them: its rows go to the second of these."""
        assert self.second is not None, "k-means has one level"
        usable = np.array([i for i, own in enumerate(self.second) if len(own)])
        return usable[sq_dists(self.first, self.first[usable]).argsort(axis=1, kind="stable")[:, :CELLS]]


def learn(x: Float32[ndarray | Parts, "n d"], k: int, params: Lloyd, seed: int, memory_mb: int) -> Centroids:
    """The centroids of `kmeans`, at most k of them."""
    most = max(k, memory_mb * 2**20 // 4 // (4 * x.shape[1]))
    gpus = faiss.get_num_gpus()
    log.info("k-means: %d images into %d clusters, on %s", len(x), k, f"{gpus} GPUs" if gpus else "the CPU")
    sample = x[np.sort(rng.stream(seed, "sample").choice(len(x), most, replace=False))] if len(x) > most else x[:]
    if params.spherical:
        sample = unit(sample)
    if k > FLAT_MOST:
        return _two_levels(sample, k, params, seed)
    return Centroids(params.spherical, _centroids(sample, k, params, seed), None)


def centroids(x: Float32[ndarray, "n d"], k: int, seed: int) -> Float32[ndarray, "k d"]:
    """Euclidean centroids of the rows, k of them, after ten iterations: to cut space into lists."""
    return _centroids(x, k, Lloyd(iterations=10, restarts=1, spherical=False), seed)


def _centroids(x: Float32[ndarray, "n d"], k: int, params: Lloyd, seed: int) -> Float32[ndarray, "k d"]:
    lloyd = faiss.Kmeans(
        x.shape[1],
        k,
        niter=params.iterations,
        nredo=params.restarts,
        spherical=params.spherical,
        seed=seed % 2**31,
        init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
        max_points_per_centroid=len(x),  # or FAISS trains on a sample of 256 for each centroid
        min_points_per_centroid=1,  # or it warns on its own stream
        gpu=faiss.get_num_gpus() > 0,
    )
    lloyd.train(x)
    assert lloyd.centroids is not None, "FAISS returned no centroids"
    return lloyd.centroids


def _two_levels(sample: Float32[ndarray, "s d"], k: int, params: Lloyd, seed: int) -> Centroids:
    first = _centroids(sample, round(k**0.5), params, seed)
    cell = assign(sample, first)[0]
    count = np.bincount(cell, minlength=len(first))
    # Shares of k by size, never more than a cell's rows: what is left over goes to the largest remainders.
    share = np.minimum(count * k // len(sample), count)
    for i in np.argsort(share - count * k / len(sample), kind="stable")[: k - share.sum()]:
        share[i] += share[i] < count[i]
    order, ends = cell.argsort(kind="stable"), count.cumsum()
    second = tuple(
        _centroids(sample[order[end - size : end]], int(own), params, rng.number(seed, "level", i))
        if own
        else np.empty((0, sample.shape[1]), np.float32)
        for i, (end, size, own) in enumerate(zip(ends, count, share, strict=True))
    )
    return Centroids(params.spherical, first, second)
