"""What a selector is given: vectors, the rows that have a label already, the rows that may not be picked."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64
from numpy import ndarray

from pipeline.artifacts.on_disk import Parts
from pipeline.select.geometry import centred, resolution
from pipeline.select.neighbours import Lists, Near, Search


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
        """The rows less their mean."""
        return self.rows.centred if isinstance(self.rows, Parts) else centred(self.rows)

    @property
    def centred(self) -> Float32[ndarray, "n d"]:
        """The same, for those who need them in memory."""
        return _in_memory(self.centred_rows)

    @cached_property
    def floor(self) -> float:
        """The squared distance below which two rows count as equal."""
        return resolution(self.centred)

    @cached_property
    def lists(self) -> Lists:
        """The rows, cut into lists where there are many."""
        return Lists.build(self.centred, self.search)

    def near(self, k: int) -> Near:
        """What each row is compared with in the search of its k nearest."""
        if k not in self._near:
            self._near[k] = self.lists.near(k, self.search)
        return self._near[k]

    def mean_sq_dist(self, k: int) -> Float32[ndarray, " n"]:
        """The mean squared distance to the nearest k rows, itself included; all rows, where there are fewer."""
        k = min(k, len(self.x))
        if k not in self._means:
            self._means[k] = self.near(k).mean_sq_dist(k)
        return self._means[k]

    def density(self, k: int) -> Float[ndarray, " n"]:
        """The inverse of `mean_sq_dist`, which counts as `floor` at least."""
        return 1 / np.maximum(self.mean_sq_dist(k), self.floor).astype(np.float64)

    @property
    def about(self) -> Mapping[str, Any]:
        """How neighbours were found, for the record: of several searches that of the worst recall, of none nothing."""
        return min((near.about for near in self._near.values()), key=lambda about: about.get("recall", 1), default={})

    @cached_property
    def _near(self) -> dict[int, Near]:
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
        """A pool of all rows of x, some of them labelled."""
        rows = np.empty(0, np.int64) if labelled is None else labelled
        return cls(Space(x, search), rows, np.zeros(len(x), bool))

    @property
    def x(self) -> Float32[ndarray, "n d"]:
        """The vectors, as they were given."""
        return self.space.x

    @cached_property
    def free(self) -> Bool[ndarray, " n"]:
        """The rows that may be picked."""
        free = ~self.barred
        free[self.labelled] = False
        return free

    def thinned(self, rows: Int64[ndarray, " k"]) -> tuple["Pool", Int64[ndarray, " s"]]:
        """A pool in memory, and the numbers of its rows: those given, the labelled, and evenly spaced others.

        Of these as many as a quarter of the memory holds; itself, where the vectors are in memory.
        """
        if not isinstance(self.space.rows, Parts):
            return self, np.arange(len(self.barred))
        n, d = self.space.rows.shape
        step = -(-n // max(1, self.space.search.memory_mb * 2**20 // 4 // (4 * d)))
        own = np.unique(np.concatenate([np.arange(0, n, step), self.labelled, rows]))
        space = Space(self.space.rows[own], self.space.search)
        return Pool(space, np.searchsorted(own, self.labelled), self.barred[own]), own


def _in_memory(rows: Float32[ndarray | Parts, "n d"]) -> Float32[ndarray, "n d"]:
    assert isinstance(rows, ndarray), "a selector that does not work out of core was given vectors on disk"
    return rows
