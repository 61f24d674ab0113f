"""BADGE: k-means++ on gradients of the last layer (Ash, Zhang, Krishnamurthy, Langford and Agarwal, ICLR 2020).

The gradient of the cross-entropy to the predicted class y by the last layer's weights is g = (p - onehot(y)) (x) h, h
the image's features (section 3). Its c x f numbers are never made: <g_i, g_j> = <a_i, a_j> <h_i, h_j> with
a = p - onehot(y).
"""

from typing import ClassVar

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy import ndarray

from pipeline.base import rng
from pipeline.select.pool import Outputs, Pool
from pipeline.select.selector import Picks, Selector
from pipeline.select.taken import filled_up
from pipeline.select.uncertainty import blocks_of, outputs_of, probabilities
from pipeline.vectors.rows import sample

RESOLUTION = 1e-6  # of |g_i|^2 + |g_j|^2: a sq_dist below that is float32's rounding
NO_GRADIENT = 1e-30  # of the largest |g|^2: a gradient below that counts as 0


class Badge(Selector):
    """The image of the largest gradient, then each with a chance in proportion to its sq_dist from the picks so far.

    Distances are between gradients. k-means++ (Arthur 2007) would draw the first pick uniformly. Labelled rows do not
    enter, as in the paper: the model knows them already, so that what looks like them has a small gradient. A pick's
    score is the mean sq_dist of the candidates from the nearest pick once it is made. All free images are candidates,
    or as many of them, drawn at random, as a quarter of the memory holds. When every candidate has the gradient of a
    pick (those of confident predictions are all 0), the images `farthest` in the vectors from the picks and the
    labelled follow at score 0.
    """

    needs_outputs: ClassVar[bool] = True

    def select(self, pool: Pool, budget: int, seed: int) -> Picks:
        outputs = outputs_of(pool, "badge")
        chance = rng.stream(seed, "select", "badge")
        rows = np.flatnonzero(pool.free)
        numbers = outputs.features.shape[1] + len(outputs.bias)
        most = max(budget, pool.space.search.memory_mb * 2**20 // 4 // (4 * numbers))
        rows = rows[sample(len(rows), most, chance)]
        picked, spread = plus_plus(*factors(outputs, rows), budget, chance)
        return filled_up(pool, rows[picked], spread, budget, {"candidates": len(rows)})


def factors(
    outputs: Outputs, rows: Int64[ndarray, " m"]
) -> tuple[Float32[ndarray, "m c"], Float32[ndarray, "m f"], float]:
    """The rows' a and h, each divided by its largest number so that float32 holds squares; the product of these two."""
    a = np.empty((len(rows), len(outputs.bias)), np.float32)
    h = outputs.features[rows]
    for part in blocks_of(outputs, len(rows)):
        p = probabilities(outputs, h[part])
        top = p.argmax(axis=1)[:, None]
        np.put_along_axis(p, top, 0, axis=1)
        np.put_along_axis(p, top, -p.sum(axis=1, keepdims=True), axis=1)  # p - 1 without its cancellation
        a[part] = p
    largest = [float(np.abs(factor).max()) for factor in (a, h)]
    for factor, value in zip((a, h), largest, strict=True):
        factor /= np.float32(value or 1)
    return a, h, largest[0] * largest[1]


def plus_plus(
    a: Float32[ndarray, "m c"], h: Float32[ndarray, "m f"], unit: float, count: int, chance: np.random.Generator
) -> tuple[Int64[ndarray, " b"], Float[ndarray, " b"]]:
    """At most `count` rows by k-means++, fewer where all sq_dists are 0; the mean sq_dist left after each.

    `unit` is what a and h together were divided by. A pick takes one pass over a and h: m (c + f) multiplications.
    """
    squares = np.einsum("mc,mc->m", a, a, dtype=np.float64) * np.einsum("mf,mf->m", h, h, dtype=np.float64)
    squares[squares <= NO_GRADIENT * squares.max()] = 0
    gap = np.full(len(a), np.inf)
    rows: list[int] = []
    spread: list[float] = []
    while len(rows) < count and gap.any():
        if rows:
            reached = gap.cumsum()
            row = int(np.searchsorted(reached, chance.random() * reached[-1], side="right"))
        else:
            row = int(squares.argmax())
        sums = squares + squares[row]
        # einsum and not a matrix product, whose sums depend on the number of threads
        inner = np.einsum("mc,c->m", a, a[row]).astype(np.float64) * np.einsum("mf,f->m", h, h[row])
        sq_dist = sums - 2 * inner
        sq_dist[sq_dist <= RESOLUTION * sums] = 0
        sq_dist[row] = 0
        np.minimum(gap, sq_dist, out=gap)
        rows.append(row)
        spread.append(float(gap.mean()) * unit**2)
    return np.array(rows, np.int64), np.array(spread, np.float64)
