"""Which images come at which step: permutation after permutation, each a function of the seed and its epoch alone."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from pipeline.base import rng

Rows = Int64[ndarray, " _"]


class Order:
    """An endless sequence of row numbers: every row exactly once an epoch, each epoch in an order of its own.

    Batches run on across the border of two epochs, so all have the same size, whatever the number of rows; any batch
    can be had without those before it, which is what an exact resume needs.
    """

    def __init__(self, num_rows: int, seed: int, *names: str) -> None:
        self._num_rows, self._seed, self._names = num_rows, seed, names
        self._epoch, self._rows = -1, np.empty(0, np.int64)

    def batch(self, step: int, size: int) -> Int64[ndarray, " b"]:
        """The rows at places step * size to (step + 1) * size of the sequence."""
        parts, place, end = [], step * size, (step + 1) * size
        while place < end:
            epoch, offset = divmod(place, self._num_rows)
            part = self._from(epoch, offset)[: end - place]
            parts.append(part)
            place += len(part)
        return np.concatenate(parts)

    def _from(self, epoch: int, offset: int) -> Rows:
        """Rows of an epoch from a place on, at least one: as many as one permutation gives."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._rows = rng.stream(self._seed, *self._names, epoch).permutation(self._num_rows)
        return self._rows[offset:]


class ShardOrder(Order):
    """The same for rows that are cheap to read only shard by shard: few shards are in use at any place.

    Each epoch permutes the shards, takes `window` of them at a time, and permutes the rows of such a window. A batch
    costs the permutations of the windows that it lies in.
    """

    def __init__(self, rows: Sequence[Rows], window: int, seed: int, *names: str) -> None:
        """`rows` are those of each shard, by the shard's number; together they are all numbers from 0 on."""
        super().__init__(sum(map(len, rows)), seed, *names)
        self._by_shard, self._window = [part for part in rows if len(part)], window
        self._numbers = [number for number, part in enumerate(rows) if len(part)]
        self._windows = lru_cache(2)(self._windows_of)
        self._permuted = lru_cache(2)(self._permutation)

    def shards(self, step: int, size: int) -> Sequence[int]:
        """Numbers of the shards that come soon: those of the window in which the batch ends, then those of the next."""
        epoch, offset = divmod((step + 1) * size - 1, self._num_rows)
        windows, starts = self._windows(epoch)
        after = int(np.searchsorted(starts, offset, side="right"))
        following = windows[after] if after < len(windows) else self._windows(epoch + 1)[0][0]
        return [self._numbers[i] for i in dict.fromkeys([*windows[after - 1], *following])]

    def _from(self, epoch: int, offset: int) -> Rows:
        starts = self._windows(epoch)[1]
        at = int(np.searchsorted(starts, offset, side="right")) - 1
        return self._permuted(epoch, at)[offset - starts[at] :]

    def _windows_of(self, epoch: int) -> tuple[list[list[int]], Int64[ndarray, " w"]]:
        """The shards of each window of an epoch, and the place at which each window starts."""
        order = rng.stream(self._seed, *self._names, epoch, "shards").permutation(len(self._by_shard)).tolist()
        windows = [order[start : start + self._window] for start in range(0, len(order), self._window)]
        ends = np.cumsum([sum(len(self._by_shard[i]) for i in window) for window in windows], dtype=np.int64)
        return windows, np.concatenate([np.zeros(1, np.int64), ends[:-1]])

    def _permutation(self, epoch: int, at: int) -> Rows:
        # Sorted, so that the order in which shards were drawn is not in it twice over.
        rows = np.concatenate([self._by_shard[i] for i in sorted(self._windows(epoch)[0][at])])
        return rng.stream(self._seed, *self._names, epoch, "window", at).permutation(rows)
