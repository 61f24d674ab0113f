"""Greedy maximisation of a gain that only shrinks as picks are made."""

import heapq
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

BATCH = 256  # gains computed at a time, at most


def lazy_greedy(
    bounds: Float[ndarray, " m"],
    gains_of: Callable[[Int64[ndarray, " k"]], Float[ndarray, " k"]],
    take: Callable[[int], None],
    count: int,
) -> tuple[Int64[ndarray, " b"], Float[ndarray, " b"]]:
    """`count` candidates, each of the highest gain given those before it, the lowest number on ties; and their gains.

    A gain from an earlier pick is a bound on the gain now, so few are computed again (Minoux 1978): `bounds` are such
    from before the first pick, inf where nothing is known, -inf for one that may not be picked. `gains_of` gives the
    gains as they are now, and `take` is told of each pick.
    """
    heap = [(-bound, row, -1) for row, bound in enumerate(bounds.tolist()) if bound > -np.inf]
    heapq.heapify(heap)
    order: list[int] = []
    gains: list[float] = []
    batch = 1
    while heap and len(order) < count:
        stale: list[int] = []
        while heap and len(stale) < batch and heap[0][2] < len(order):
            stale.append(heapq.heappop(heap)[1])
        if stale:
            for row, gain in zip(stale, gains_of(np.array(stale)).tolist(), strict=True):
                heapq.heappush(heap, (-gain, row, len(order)))
            batch = min(2 * batch, BATCH)
        else:
            gain, row, _ = heapq.heappop(heap)
            order.append(row)
            gains.append(-gain)
            take(row)
            batch = 1
    # Rounding may let a gain rise by its last digit.
    return np.array(order, np.int64), np.minimum.accumulate(np.array(gains, np.float64))
