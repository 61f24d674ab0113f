"""k-means, and nearest neighbours on a GPU: the only file that imports FAISS. On the GPU where FAISS finds one.

Neighbours on a CPU come from `neighbours.py`, not from `faiss.knn`: the OpenBLAS inside faiss-cpu 1.15 takes newer CPUs
for the oldest it knows, and needs several times as long there. `python -m benchmarks.select` measures both in one run.
"""

import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property

import faiss
import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray
from pydantic import Field
from tqdm import tqdm

from pipeline.artifacts.on_disk import Parts
from pipeline.base import rng
from pipeline.base.params import Block
from pipeline.vectors.geometry import assign, sq_dists, unit
from pipeline.vectors.rows import blocks, sample, spans

log = logging.getLogger(__name__)
GPU_MOST = 2048  # neighbours that FAISS can find on a GPU
GPU_QUERIES = 65536
FLAT_MOST = 2000  # clusters that are found at one level
TRIAL = "import faiss, numpy; x = numpy.eye(8, dtype='f'); faiss.knn_gpu(faiss.StandardGpuResources(), x, x, 2)"
CELLS = 10  # of the first of two levels, whose clusters a row is compared with


class Lloyd(Block):
    """How long k-means runs."""

    iterations: int = Field(ge=1)  # of Lloyd's algorithm, each over all images
    restarts: int = Field(ge=1)  # runs from different k-means++ starts; the best one is kept


class KMeansParams(Lloyd):
    """The params of k-means, part of the block of each selector that clusters."""

    spherical: bool  # centroids of unit length and cosine similarity, in place of Euclidean distance


@dataclass(frozen=True)
class Clusters:
    """`cluster[i]` is the cluster of row i, numbered from 0 without gaps: clusters that came out empty do not count.

    `sq_dist` is the row's squared distance to its centroid; of the row brought to unit length, where spherical.
    """

    cluster: Int64[ndarray, " n"]
    sq_dist: Float32[ndarray, " n"]


def version() -> str:
    return faiss.__version__


@cache
def num_gpus() -> int:
    """How many GPUs FAISS can use: none, with a warning, where it finds some but was built without kernels for them."""
    found = int(faiss.get_num_gpus())
    if found and (reason := why_not()):
        log.warning(
            "FAISS %s does not run on this GPU, so the CPU is used: %s; a newer FAISS may: "
            "pip install --upgrade faiss-gpu",
            version(),
            reason,
        )
        return 0
    return found


def why_not() -> str:
    """Why FAISS finds no neighbours on a GPU, or "". Tried in a process of its own, which it may abort."""
    done = subprocess.run([sys.executable, "-c", TRIAL], capture_output=True, text=True, check=False)
    said = done.stderr.strip().splitlines()
    return (said[-1] if said else f"exit status {done.returncode}") if done.returncode else ""


def on_gpu(k: int) -> bool:
    return num_gpus() > 0 and k <= GPU_MOST


def knn_gpu(
    x: Float32[ndarray, "n d"], rows: Int64[ndarray, " q"], k: int
) -> Iterator[tuple[Int64[ndarray, " b"], Float32[ndarray, "b k"], Int64[ndarray, "b k"]]]:
    """Blocks of `rows` with the squared distances and rows of their k nearest of x; exact; needs a GPU."""
    resources = faiss.StandardGpuResources()
    for part in spans(len(rows), GPU_QUERIES):
        sq_dist, neighbours = faiss.knn_gpu(resources, x[rows[part]], x, k)
        yield rows[part], np.maximum(sq_dist, 0), neighbours


def kmeans(x: Float32[ndarray, "n d"], k: int, params: KMeansParams, seed: int, memory_mb: int) -> Clusters:
    """k-means of all rows into at most k clusters, 1 <= k <= n, from k-means++ starts (Arthur 2007).

    Where spherical, rows are brought to unit length first (Dhillon and Modha 2001); one without a direction stays
    zero. The restart of the best objective is kept. The centroids are learnt from as many rows as a quarter of the
    memory holds, drawn at random where there are more; then every row goes to the nearest. Beyond `FLAT_MOST` clusters
    there are two levels: sqrt(k) clusters, each of them cut into its share of the k; then a row goes to the nearest
    centroid of the `CELLS` clusters of the first level that are nearest to its own. The same on any number of threads.
    """
    cluster, sq_dist = np.empty(len(x), np.int64), np.empty(len(x), np.float32)
    for part, *assigned in learn(x, k, params, seed, memory_mb).assign(x):
        cluster[part], sq_dist[part] = assigned
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

    def assign(
        self, x: Float32[ndarray | Parts, "n d"]
    ) -> Iterator[tuple[slice, Int64[ndarray, " b"], Float32[ndarray, " b"]]]:
        """One pass over x: blocks of it with the cluster of each row and the squared distance to its centroid."""
        with tqdm(total=len(x), desc="k-means", disable=None, unit=" images") as bar:
            for part in blocks(len(x), x.shape[1]):
                block = unit(x[part]) if self.spherical else x[part]
                yield part, *self._assign(block)
                bar.update(len(block))

    def _assign(self, x: Float32[ndarray, "n d"]) -> tuple[Int64[ndarray, " n"], Float32[ndarray, " n"]]:
        if self.second is None:
            return assign(x, self.first)
        cell = assign(x, self.first)[0]
        cluster, sq_dist = np.empty(len(x), np.int64), np.empty(len(x), np.float32)
        order, ends = cell.argsort(kind="stable"), np.bincount(cell, minlength=len(self.first)).cumsum()
        start = np.concatenate([[0], np.cumsum([len(centroids) for centroids in self.second])])
        for rows, cells in zip(np.split(order, ends[:-1]), self._near_cells, strict=True):
            if len(rows):
                numbers = np.concatenate([np.arange(start[i], start[i + 1]) for i in cells])
                place, sq_dist[rows] = assign(x[rows], np.concatenate([self.second[i] for i in cells]))
                cluster[rows] = numbers[place]
        return cluster, sq_dist

    @cached_property
    def _near_cells(self) -> Int64[ndarray, "f c"]:
        """For each centroid of the first level the nearest ones: its rows are compared with their second level."""
        assert self.second is not None, "k-means has one level"
        usable = np.array([i for i, centroids in enumerate(self.second) if len(centroids)])
        return usable[sq_dists(self.first, self.first[usable]).argsort(axis=1, kind="stable")[:, :CELLS]]


def learn(x: Float32[ndarray | Parts, "n d"], k: int, params: KMeansParams, seed: int, memory_mb: int) -> Centroids:
    """The centroids of `kmeans`, at most k of them."""
    most = max(k, memory_mb * 2**20 // 4 // (4 * x.shape[1]))
    gpus = num_gpus()
    log.info("k-means: %d images into %d clusters, on %s", len(x), k, f"{gpus} GPUs" if gpus else "the CPU")
    some = x[sample(len(x), most, rng.stream(seed, "sample"))] if len(x) > most else x[:]
    if params.spherical:
        some = unit(some)
    if k > FLAT_MOST:
        return _two_levels(some, k, params, seed)
    return Centroids(params.spherical, _centroids(some, k, params, seed), None)


def centroids(x: Float32[ndarray, "n d"], k: int, seed: int) -> Float32[ndarray, "k d"]:
    """Euclidean centroids of the rows, k of them, after ten iterations: to cut space into lists."""
    return _centroids(x, k, KMeansParams(iterations=10, restarts=1, spherical=False), seed)


def _centroids(x: Float32[ndarray, "n d"], k: int, params: KMeansParams, seed: int) -> Float32[ndarray, "k d"]:
    run = faiss.Kmeans(
        x.shape[1],
        k,
        niter=params.iterations,
        nredo=params.restarts,
        spherical=params.spherical,
        seed=seed % 2**31,
        init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
        max_points_per_centroid=len(x),  # or FAISS trains on a sample of 256 for each centroid
        min_points_per_centroid=1,  # or it warns on its own stream
        gpu=num_gpus() > 0,
    )
    run.train(x)
    assert run.centroids is not None, "FAISS returned no centroids"
    return run.centroids


def _two_levels(x: Float32[ndarray, "s d"], k: int, params: KMeansParams, seed: int) -> Centroids:
    first = _centroids(x, round(k**0.5), params, seed)
    cell = assign(x, first)[0]
    count = np.bincount(cell, minlength=len(first))
    # Shares of k by size, never more than a cell's rows: what is left over goes to the largest remainders.
    share = np.minimum(count * k // len(x), count)
    for i in np.argsort(share - count * k / len(x), kind="stable")[: k - share.sum()]:
        share[i] += share[i] < count[i]
    order, ends = cell.argsort(kind="stable"), count.cumsum()
    second = tuple(
        _centroids(x[order[end - size : end]], int(clusters), params, rng.number(seed, "level", i))
        if clusters
        else np.empty((0, x.shape[1]), np.float32)
        for i, (end, size, clusters) in enumerate(zip(ends, count, share, strict=True))
    )
    return Centroids(params.spherical, first, second)
