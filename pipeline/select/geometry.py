"""Squared Euclidean distances by matrix products, exact but for float32's rounding, in blocks of bounded size.

|a - b|^2 = |a|^2 + |b|^2 - 2 a.b loses digits where vectors are long beside their distances, so callers work on
`centred` rows, and take distances below `resolution` for nothing.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float32
from numpy import ndarray
from tqdm import tqdm

QUERIES, POINTS = 1024, 8192  # rows and columns of the block of distances in memory: 32 MB


def centred(x: Float32[ndarray, "n d"]) -> Float32[ndarray, "n d"]:
    """The rows less their mean: the same distances, better conditioned; equal rows become zeros."""
    return x - x.mean(axis=0, dtype=np.float64).astype(np.float32)


def resolution(x: Float32[ndarray, "n d"]) -> float:
    """The squared distance below which two of the centred rows x count as equal: a millionth of their mean square.

    Float32 leaves a few ten-millionths of noise on the distance of two duplicates. Positive even if all rows are zero,
    so it can be divided by.
    """
    mean_square = np.einsum("nd,nd->", x, x, dtype=np.float64) / len(x)
    return float(max(1e-6 * mean_square, np.finfo(np.float32).tiny))


def sq_dists(a: Float32[ndarray, "a d"], b: Float32[ndarray, "b d"]) -> Float32[ndarray, "a b"]:
    """Squared distances of all rows of a to all rows of b, never negative; the caller bounds their number."""
    out = _lowered(a) @ _raised(b).T
    out += _sq_norms(a)[:, None]
    return np.maximum(out, 0, out=out)


def mean_sq_dist(x: Float32[ndarray, "n d"], k: int) -> Float32[ndarray, " n"]:
    """The mean squared distance of each row to its k nearest rows, itself included; exact search, for 1 <= k <= n.

    A running set of the k smallest is kept for a block of rows at a time, so memory is a block's, whatever n is.
    """
    points = _raised(x)
    width = max(POINTS, k)
    block = np.empty((QUERIES, k + width), np.float32)
    means = np.empty(len(x), np.float32)
    threads = os.cpu_count() or 1
    bar = tqdm(total=len(x), desc="neighbours", disable=None, unit=" images")
    with bar, ThreadPoolExecutor(threads) as pool:

        def keep_first(found: Float32[ndarray, "b c"], kept: int) -> None:  # the product has threads of its own
            list(pool.map(lambda rows: rows.partition(kept - 1, axis=1), np.array_split(found, threads)))

        for start in range(0, len(x), QUERIES):
            queries = x[start : start + QUERIES]
            lowered, kept = _lowered(queries), 0
            for column in range(0, len(x), width):
                part = points[column : column + width]
                found = block[: len(queries), : kept + len(part)]
                np.matmul(lowered, part.T, out=found[:, kept:])
                kept = min(k, found.shape[1])
                keep_first(found, kept)
            nearest = block[: len(queries), :k] + _sq_norms(queries)[:, None]
            means[start : start + QUERIES] = np.maximum(nearest, 0).mean(axis=1)
            bar.update(len(queries))
    return means


def _sq_norms(x: Float32[ndarray, "n d"]) -> Float32[ndarray, " n"]:
    return np.einsum("nd,nd->n", x, x)


# The product of a lowered and a raised row is |b|^2 - 2 a.b: one matrix product, no pass over the block afterwards.
def _lowered(a: Float32[ndarray, "a d"]) -> Float32[ndarray, "a e"]:
    return np.column_stack([-2 * a, np.ones(len(a), np.float32)])


def _raised(b: Float32[ndarray, "b d"]) -> Float32[ndarray, "b e"]:
    return np.column_stack([b, _sq_norms(b)])
