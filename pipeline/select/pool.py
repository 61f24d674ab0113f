"""What a selector is given: vectors, the rows that have a label already, the rows that may not be picked."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64
from numpy import ndarray

from pipeline.artifacts.on_disk import Parts
from pipeline.vectors.geometry import centred, resolution
from pipeline.vectors.neighbours import InvertedLists, NeighbourSearch, Search


@dataclass(frozen=True)
class Outputs:
    """What the last round's model makes of the images: its features and the linear layer on top; never a label."""

    features: Float32[ndarray, "n f"]
    weight: Float32[ndarray, "c f"]
    bias: Float32[ndarray, " c"]


@dataclass(frozen=True)
class Space:
    """Vectors, and what is derived from them once, whatever is labelled."""

    rows: Float32[ndarray | Parts, "n d"]
    search: Search

    @property
    def x(self) -> Float32[ndarray, "n d"]:
        """The vectors, for those who need them in memory."""
        return _in_memory(self.rows)

    @cached_property
    def centred_rows(self) -> Float32[ndarray | Parts, "n d"]:
        return self.rows.centred if isinstance(self.rows, Parts) else centred(self.rows)

    @property
    def centred(self) -> Float32[ndarray, "n d"]:
        """The same, for those who need them in memory."""
        return _in_memory(self.centred_rows)

    @cached_property
    def copy_sq_dist(self) -> float:
        """The squared distance below which two rows are copies of one image."""
        return resolution(self.centred)

    @cached_property
    def lists(self) -> InvertedLists:
        """The rows, cut into lists if there are many."""
        return InvertedLists.build(self.centred, self.search)

    def neighbours(self, k: int) -> NeighbourSearch:
        if k not in self._searches:
            self._searches[k] = self.lists.search(k, self.search)
        return self._searches[k]

    def mean_sq_dist(self, k: int) -> Float32[ndarray, " n"]:
        """The mean squared distance to the nearest k rows, itself included; to all rows, if there are fewer."""
        k = min(k, len(self.x))
        if k not in self._means:
            self._means[k] = self.neighbours(k).mean_sq_dist(k)
        return self._means[k]

    def density(self, k: int) -> Float[ndarray, " n"]:
        """The inverse of `mean_sq_dist`, which counts as `copy_sq_dist` at least."""
        return 1 / np.maximum(self.mean_sq_dist(k), self.copy_sq_dist).astype(np.float64)

    @property
    def about(self) -> Mapping[str, Any]:
        """How neighbours were found, for the record: the search of the worst recall; nothing if there was no search."""
        abouts = (search.about for search in self._searches.values())
        return min(abouts, key=lambda about: about.get("recall", 1), default={})

    @cached_property
    def _searches(self) -> dict[int, NeighbourSearch]:
        return {}

    @cached_property
    def _means(self) -> dict[int, Float32[ndarray, " n"]]:
        return {}


@dataclass(frozen=True)
class Pool:
    """The images to choose among. A labelled row is not picked but counts as covered; a barred one is not picked."""

    space: Space
    labelled: Int64[ndarray, " l"]
    barred: Bool[ndarray, " n"]
    outputs: Outputs | None = None

    @classmethod
    def of(
        cls, x: Float32[ndarray | Parts, "n d"], search: Search, labelled: Int64[ndarray, " l"] | None = None
    ) -> "Pool":
        rows = np.empty(0, np.int64) if labelled is None else labelled
        return cls(Space(x, search), rows, np.zeros(len(x), bool))

    @property
    def x(self) -> Float32[ndarray, "n d"]:
        """The vectors, as they were given."""
        return self.space.x

    @cached_property
    def free(self) -> Bool[ndarray, " n"]:
        free = ~self.barred
        free[self.labelled] = False
        return free

    def subsampled(self, rows: Int64[ndarray, " k"]) -> tuple["Pool", Int64[ndarray, " s"]]:
        """A pool in memory, and the numbers of its rows: those given, the labelled, and evenly spaced others.

        There are as many others as a quarter of the memory holds. If the vectors are in memory, it is the pool itself.
        """
        if not isinstance(self.space.rows, Parts):
            return self, np.arange(len(self.barred))
        n, d = self.space.rows.shape
        step = -(-n // max(1, self.space.search.memory_mb * 2**20 // 4 // (4 * d)))
        numbers = np.unique(np.concatenate([np.arange(0, n, step), self.labelled, rows]))
        space = Space(self.space.rows[numbers], self.space.search)
        return Pool(space, np.searchsorted(numbers, self.labelled), self.barred[numbers]), numbers


def _in_memory(rows: Float32[ndarray | Parts, "n d"]) -> Float32[ndarray, "n d"]:
    assert isinstance(rows, ndarray), "a selector that does not work out of core was given vectors on disk"
    return rows
