"""Nearest neighbours and k-means: the only file that imports FAISS. On the GPU where FAISS finds one, and says so.

Exact neighbours on a CPU come from `geometry`, not from `faiss.knn`: the OpenBLAS inside faiss-cpu 1.15 takes newer
CPUs for the oldest it knows, and needs more than twice the time there, even more where k is large.
`python -m benchmarks.select` measures both in one run.
"""

import logging
from dataclasses import dataclass

import faiss
import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray
from pydantic import Field

from pipeline.params import Block
from pipeline.select import geometry

log = logging.getLogger(__name__)
GPU_MOST = 2048  # neighbours that FAISS can find on a GPU
GPU_QUERIES = 65536


class Lloyd(Block):
    """The params of k-means, part of the block of each selector that clusters."""

    iterations: int = Field(ge=1)
    restarts: int = Field(ge=1)  # runs from different starts, of which the best is kept
    spherical: bool  # centroids of unit length and cosine similarity, in place of Euclidean distance


@dataclass(frozen=True)
class Clusters:
    """`cluster[i]` is the cluster of row i, numbered from 0 without gaps: clusters that came out empty do not count.

    `closeness` is higher the nearer a row is to its centroid: the negative sq_dist, or the cosine where spherical.
    """

    cluster: Int64[ndarray, " n"]
    closeness: Float32[ndarray, " n"]


def version() -> str:
    """FAISS's version."""
    return faiss.__version__


def mean_sq_dist(x: Float32[ndarray, "n d"], k: int) -> Float32[ndarray, " n"]:
    """The mean squared distance of each of the centred rows to its k nearest, itself included; exact, 1 <= k <= n."""
    gpus = faiss.get_num_gpus()
    if gpus == 0 or k > GPU_MOST:
        log.info("neighbours: %d of each of %d images, exact, on the CPU", k, len(x))
        return geometry.mean_sq_dist(x, k)
    log.info("neighbours: %d of each of %d images, exact, on a GPU", k, len(x))
    resources = faiss.StandardGpuResources()
    means = np.empty(len(x), np.float32)
    for start in range(0, len(x), GPU_QUERIES):
        part = slice(start, start + GPU_QUERIES)
        means[part] = np.maximum(faiss.knn_gpu(resources, x[part], x, k)[0], 0).mean(axis=1)
    return means


def kmeans(x: Float32[ndarray, "n d"], k: int, params: Lloyd, seed: int) -> Clusters:
    """Lloyd's k-means of all rows into at most k clusters, 1 <= k <= n, from k-means++ starts (Arthur 2007).

    Where spherical, rows are brought to unit length first (Dhillon and Modha 2001); one without a direction stays
    zero. The restart of the best objective is kept. The same on any number of threads.
    """
    if params.spherical:
        length = np.linalg.norm(x, axis=1, keepdims=True)
        x = np.divide(x, length, out=np.zeros_like(x), where=length > 0)
    gpus = faiss.get_num_gpus()
    log.info("k-means: %d images into %d clusters, on %s", len(x), k, f"{gpus} GPUs" if gpus else "the CPU")
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
        gpu=gpus > 0,
    )
    lloyd.train(x)
    near, found = lloyd.index.search(x, 1)
    cluster = np.unique(found[:, 0], return_inverse=True)[1].astype(np.int64)
    return Clusters(cluster, near[:, 0] if params.spherical else -near[:, 0])
