"""Squared Euclidean distances by matrix products, exact but for float32's rounding, in blocks of bounded size.

|a - b|^2 = |a|^2 + |b|^2 - 2 a.b loses digits if vectors are long beside their distances. So callers centre the rows
first (`centred`), and take two rows nearer than `resolution` for copies of one image.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray

from pipeline.vectors.rows import CACHED_NUMBERS, blocks, spans

QUERIES, POINTS = 1024, 8192  # rows and columns of a block of distances: 32 MB


def centred(x: Float32[ndarray, "n d"]) -> Float32[ndarray, "n d"]:
    """The rows less their mean: the same distances, better conditioned; equal rows become zeros."""
    return x - x.mean(axis=0, dtype=np.float64).astype(np.float32)


def unit(x: Float32[ndarray, "n d"]) -> Float32[ndarray, "n d"]:
    """The rows at length 1, whatever their length was; a row of zeros stays one."""
    out = np.empty_like(x)
    for part in blocks(len(x), 4 * x.shape[1], CACHED_NUMBERS):
        largest = np.abs(x[part]).max(axis=1, keepdims=True)  # or squares of very long and short rows leave float32
        largest[largest == 0] = 1
        scaled = np.divide(x[part], largest, out=out[part])
        length = np.linalg.norm(scaled, axis=1, keepdims=True)
        length[length == 0] = 1
        scaled /= length
    return out


def resolution(x: Float32[ndarray, "n d"]) -> float:
    """The squared distance below which two of the centred rows x are copies: a millionth of their mean square.

    Float32 leaves a few ten-millionths of noise on the distance of two copies. The result is positive even if all rows
    are zero, so that one can divide by it.
    """
    mean_square = np.einsum("nd,nd->", x, x, dtype=np.float64) / len(x)
    return float(max(1e-6 * mean_square, np.finfo(np.float32).tiny))


def sq_dists(a: Float32[ndarray, "a d"], b: Float32[ndarray, "b d"]) -> Float32[ndarray, "a b"]:
    """Squared distances of all rows of a to all rows of b, never negative; the caller bounds their number."""
    out = left_factor(a) @ right_factor(b).T
    return np.maximum(out, 0, out=out)


# The product of the two factors is |a|^2 - 2 a.b + |b|^2: one matrix product, and no pass over it afterwards.
def left_factor(a: Float32[ndarray, "a d"]) -> Float32[ndarray, "a e"]:
    """The left factor of a block of squared distances."""
    return np.column_stack([-2 * a, _sq_norms(a), np.ones(len(a), np.float32)])


def right_factor(b: Float32[ndarray, "b d"]) -> Float32[ndarray, "b e"]:
    """The right factor, row for row."""
    return np.column_stack([b, np.ones(len(b), np.float32), _sq_norms(b)])


def assign(
    x: Float32[ndarray, "n d"], points: Float32[ndarray, "k d"]
) -> tuple[Int64[ndarray, " n"], Float32[ndarray, " n"]]:
    """For each row of x its nearest row of `points`, the lowest on ties, and the squared distance to it."""
    n, d = x.shape
    nearest, sq_dist = np.empty(n, np.int64), np.empty(n, np.float32)
    step = min(n, max(1, CACHED_NUMBERS // max(len(points), 4 * d)))
    # The two factors, but for the -2, and in memory that is used again: new memory costs more.
    right = np.column_stack([-2 * points, np.ones(len(points), np.float32), _sq_norms(points)]).T
    lefts, products = np.ones((step, d + 2), np.float32), np.empty((step, len(points)), np.float32)
    for part in spans(n, step):
        rows = x[part]
        left, block = lefts[: len(rows)], products[: len(rows)]
        left[:, :d], left[:, d] = rows, _sq_norms(rows)
        at = np.matmul(left, right, out=block).argmin(axis=1)
        nearest[part], sq_dist[part] = at, block[np.arange(len(rows)), at]
    return nearest, np.maximum(sq_dist, 0, out=sq_dist)


def k_smallest(
    parts: Iterable[tuple[Int64[ndarray, " c"], Float32[ndarray, "q c"]]], num_queries: int, k: int
) -> tuple[Float32[ndarray, "q k"], Int64[ndarray, "q k"]]:
    """The k smallest squared distances of each query over parts of its candidates, and these candidates, in no order.

    Only what is below the k-th smallest so far is looked at twice, so the cost is the product's and one comparison's.
    If there are fewer than k candidates, the rest is inf and row -1.
    """
    kept = np.full((num_queries, k), np.inf, np.float32)
    rows = np.full((num_queries, k), -1, np.int64)
    for candidates, sq_dist in parts:
        first = 0
        if np.isinf(kept).any():  # the first few columns as a whole: they give a bound for the others
            first = max(QUERIES, 4 * k)
            head = sq_dist[:, :first]
            both_rows = np.column_stack([rows, np.broadcast_to(candidates[:first], head.shape)])
            _keep(kept, rows, np.column_stack([kept, head]), both_rows)
        below = sq_dist[:, first:] < kept.max(axis=1, keepdims=True)
        if below.any():
            _keep_hits(kept, rows, np.flatnonzero(below), candidates[first:], sq_dist[:, first:])
    return np.maximum(kept, 0, out=kept), rows


def _keep_hits(
    kept: Float32[ndarray, "q k"],
    rows: Int64[ndarray, "q k"],
    hits: Int64[ndarray, " h"],
    candidates: Int64[ndarray, " c"],
    sq_dist: Float32[ndarray, "q c"],
) -> None:
    """Merges `hits`, places in `sq_dist` in ascending order, into what is kept."""
    count = np.diff(np.searchsorted(hits, np.arange(len(kept) + 1) * sq_dist.shape[1]))
    query = np.repeat(np.arange(len(kept)), count)
    slot = kept.shape[1] + np.arange(len(hits)) - np.repeat(count.cumsum() - count, count)
    column = hits - query * sq_dist.shape[1]
    both = np.full((len(kept), kept.shape[1] + count.max()), np.inf, np.float32)
    both_rows = np.full(both.shape, -1, np.int64)
    both[:, : kept.shape[1]], both_rows[:, : kept.shape[1]] = kept, rows
    both[query, slot], both_rows[query, slot] = sq_dist[query, column], candidates[column]
    _keep(kept, rows, both, both_rows)


def _keep(
    kept: Float32[ndarray, "q k"],
    rows: Int64[ndarray, "q k"],
    both: Float32[ndarray, "q b"],
    both_rows: Int64[ndarray, "q b"],
) -> None:
    """Fills `kept` with the smallest of each row of `both`."""
    chosen = both.argpartition(kept.shape[1] - 1, axis=1)[:, : kept.shape[1]]
    kept[:] = np.take_along_axis(both, chosen, axis=1)
    rows[:] = np.take_along_axis(both_rows, chosen, axis=1)


def _sq_norms(x: Float32[ndarray, "n d"]) -> Float32[ndarray, " n"]:
    return np.einsum("nd,nd->n", x, x)
