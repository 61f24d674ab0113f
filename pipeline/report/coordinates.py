"""Where each image stands on the map: its vector in two dimensions, like ones near each other.

PCA to 50 numbers, then t-SNE (van der Maaten and Hinton 2008). Its time grows faster than the number of images, so of
many it sees a sample, and each other image stands between those of the sample that are nearest to it. UMAP, where it
is installed, sees all.
"""

import importlib.util
import logging
import time
import warnings
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from pipeline.base import rng
from pipeline.vectors.geometry import sq_dists
from pipeline.vectors.rows import blocks, sample

Method = Literal["auto", "pca", "tsne", "umap", "none"]

FEW = 50  # images, below which neighbourhoods are too small for t-SNE
TSNE_MOST = 3000  # images that t-SNE sees: some 20 s on one core
STEPS = 500  # of t-SNE; its usual 1000 keep no more neighbours
PCA_DIM = 50
PCA_IMAGES = 20_000  # that the axes are found on
NEAREST = 2  # images of the sample that another one stands between; of 1 to 10, 2 keeps most neighbours

log = logging.getLogger(__name__)


def has_umap() -> bool:
    """Whether the extra `umap` is installed."""
    return importlib.util.find_spec("umap") is not None


def coordinates(x: Float32[ndarray, "n d"], method: Method) -> tuple[Float32[ndarray, "n 2"], str]:
    """The place of each image within [-1, 1], and the words for how it was found.

    The same vectors give the same places on as many threads; t-SNE adds up in another order on more.
    """
    started = time.perf_counter()
    if method == "auto":
        method = "pca" if len(x) < FEW else "umap" if len(x) > TSNE_MOST and has_umap() else "tsne"
    z = _axes(x, 2 if method == "pca" else PCA_DIM)
    if len(x) < 3 or not z.any():  # too few for neighbours, or copies alone
        found, words = z[:, :2], "PCA"
    elif method == "umap":
        found, words = _umap(z), "UMAP"
    elif method == "tsne":
        found, words = _tsne(z)
    else:
        found, words = z, "PCA"
    found = found - (found.max(axis=0) + found.min(axis=0)) / 2
    log.info("the map: %s of %d images, %.1f s", words, len(x), time.perf_counter() - started)
    return (found / (np.abs(found).max() or 1)).astype(np.float32), words


def _axes(x: Float32[ndarray, "n d"], dim: int) -> Float32[ndarray, "n k"]:
    """The first principal components; zeros where there are fewer than two."""
    some = x[sample(len(x), PCA_IMAGES, rng.stream(0, "report", "axes"))]
    with np.errstate(invalid="ignore"):  # of copies alone, the share of the variance is 0 of 0
        z = PCA(min(dim, *some.shape), svd_solver="randomized", random_state=0).fit(some).transform(x)
    return np.pad(z, ((0, 0), (0, max(0, 2 - z.shape[1])))).astype(np.float32)


def _tsne(z: Float32[ndarray, "n k"]) -> tuple[Float32[ndarray, "n 2"], str]:
    seen = sample(len(z), TSNE_MOST, rng.stream(0, "report", "map"))
    perplexity = min(30.0, (len(seen) - 1) / 3)
    places = TSNE(2, init="pca", perplexity=perplexity, max_iter=STEPS, random_state=0).fit_transform(z[seen])
    if len(seen) == len(z):
        return places, "t-SNE"
    return _among(z, seen, places), f"t-SNE of {TSNE_MOST:,}, the others beside the nearest of these"


def _among(z: Float32[ndarray, "n k"], seen: Int64[ndarray, " m"], places: Float32[ndarray, "m 2"]) -> ndarray:
    """The places of all: the mean of the nearest of `seen`, weighted by how near they are."""
    found = np.empty((len(z), 2), np.float32)
    for rows in blocks(len(z), len(seen)):
        apart = sq_dists(z[rows], z[seen])
        near = np.argpartition(apart, NEAREST, axis=1)[:, :NEAREST]
        weight = 1 / np.maximum(np.take_along_axis(apart, near, axis=1), 1e-6)
        found[rows] = (places[near] * weight[..., None]).sum(axis=1) / weight.sum(axis=1, keepdims=True)
    found[seen] = places
    return found


def _umap(z: Float32[ndarray, "n k"]) -> Float32[ndarray, "n 2"]:
    import umap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a seed makes it run on one core: so it is meant
        return umap.UMAP(n_components=2, random_state=0).fit_transform(z)
