"""Which images are compared with which: all with all up to a size, each with those of near inverted lists beyond it.

The lists are k-means cells, 2 sqrt(n) of them whatever the budget is. A list is searched as a whole: its images against
the images of the lists nearest to its centroid, one matrix product. So n images cost n^1.5, and memory is a block's.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray
from pydantic import Field
from tqdm import tqdm

from pipeline.base import rng
from pipeline.base.params import Block
from pipeline.vectors import clustering, geometry
from pipeline.vectors.geometry import k_smallest, left_factor, right_factor
from pipeline.vectors.rows import sample, spans

log = logging.getLogger(__name__)
RECALL_QUERIES = 1000  # images whose recall is measured
TRAINING_IMAGES = 64  # for each list, from which the lists' centroids are learnt

Candidates = Iterator[tuple[Int64[ndarray, " c"], Float32[ndarray, "q c"]]]


class Search(Block):
    """How neighbours are found, and in what memory: the block `select.search`."""

    memory_mb: int = Field(ge=64)  # for what grows with images or picks, beyond copies of the vectors: see the methods
    exact_most: int = Field(ge=1)  # images up to which all are compared with all
    recall: float = Field(gt=0, le=1)  # that near lists are added for, until a sample reaches it
    probes: int = Field(ge=1)  # lists that each is searched with, itself among them, at most


@dataclass(frozen=True)
class InvertedLists:
    """Centred rows cut into lists; one list of all if `nearby` is None."""

    x: Float32[ndarray, "n d"]
    cell: Int64[ndarray, " n"]  # the list of each row
    nearby: Int64[ndarray, "l l"] | None  # for each list all lists, the nearest first, itself before them

    @classmethod
    def build(cls, x: Float32[ndarray, "n d"], search: Search) -> "InvertedLists":
        """One list up to `search.exact_most` rows."""
        if len(x) <= search.exact_most:
            return cls(x, np.zeros(len(x), np.int64), None)
        num_lists = min(len(x), round(2 * len(x) ** 0.5))
        size = min(len(x), TRAINING_IMAGES * num_lists)
        some = rng.stream(0, "select", "lists").choice(len(x), size, replace=False)
        centres = clustering.centroids(x[some], num_lists, rng.number(0, "select", "lists", "k-means"))
        apart = geometry.sq_dists(centres, centres)
        np.fill_diagonal(apart, -1)  # itself first, whatever rounding makes of copies
        return cls(x, geometry.assign(x, centres)[0], apart.argsort(axis=1, kind="stable"))

    def search(self, k: int, search: Search) -> "NeighbourSearch":
        """The search for the k nearest: in as many lists as reach the recall on a sample, or in `search.probes`."""
        if self.nearby is None:
            return NeighbourSearch(self, None, {"neighbours": "exact"})
        if clustering.on_gpu(k):  # then the lists serve `blocks` alone
            return NeighbourSearch(self, self.nearby[:, : search.probes].copy(), {"neighbours": "exact, on a GPU"})
        queries = sample(len(self.x), RECALL_QUERIES, rng.stream(0, "select", "recall"))
        everything = NeighbourSearch.exhaustive(self.x)
        true = np.concatenate([row for _, _, row in everything.knn(min(k, len(self.x)), queries)])
        rank = self.nearby[self.cell[queries]].argsort(axis=1)  # of each list, seen from a query's
        needed = np.take_along_axis(rank, self.cell[true], axis=1)
        most = min(search.probes, len(self.nearby))
        recall = np.array([(needed < probes).mean() for probes in range(1, most + 1)])
        probes = min(int((recall < search.recall).sum()) + 1, most)
        about = {"neighbours": "inverted lists", "lists": len(self.nearby), "probes": probes}
        about |= {"recall": round(float(recall[probes - 1]), 4), "recall_of": k, "recall_sample": len(queries)}
        log.info(
            "neighbours: %(lists)d inverted lists, %(probes)d at a time: recall of %(recall_of)d %(recall).3f", about
        )
        return NeighbourSearch(self, self.nearby[:, :probes].copy(), about)

    @cached_property
    def order(self) -> Int64[ndarray, " n"]:
        return self.cell.argsort(kind="stable")

    @cached_property
    def starts(self) -> Int64[ndarray, " l"]:
        """Where each list starts in `order`, and its end."""
        return np.concatenate(
            [[0], np.bincount(self.cell, minlength=1 if self.nearby is None else len(self.nearby)).cumsum()]
        )

    @cached_property
    def right_factors(self) -> Float32[ndarray, "n e"]:
        return right_factor(self.x if self.nearby is None else self.x[self.order])


@dataclass(frozen=True)
class NeighbourSearch:
    """What each row is compared with: all rows if `probed` is None, or those of the lists that its own list names."""

    lists: InvertedLists
    probed: Int64[ndarray, "l p"] | None
    about: Mapping[str, Any]

    @classmethod
    def exhaustive(cls, x: Float32[ndarray, "n d"]) -> "NeighbourSearch":
        """All of the centred rows x are compared with all."""
        return cls(InvertedLists(x, np.zeros(len(x), np.int64), None), None, {})

    def blocks(
        self, rows: Int64[ndarray, " q"] | None = None, most: int = geometry.QUERIES
    ) -> Iterator[tuple[Int64[ndarray, " b"], Candidates]]:
        """Blocks of the rows, or of all, each with its candidates: their rows and squared distances, in parts.

        Every row is one of its own candidates; a distance may be negative by rounding. Each row comes up once, if there
        are lists in their order. A part is overwritten by the next one.
        """
        lists = self.lists
        rows = lists.order if rows is None else rows
        memory = np.empty(most * geometry.POINTS, np.float32)
        if self.probed is None:
            for part in spans(len(rows), most):
                yield rows[part], self._candidates(rows[part], None, memory)
            return
        rows = rows[lists.cell[rows].argsort(kind="stable")]
        for same in np.split(rows, np.flatnonzero(np.diff(lists.cell[rows])) + 1):
            for part in spans(len(same), most):
                yield same[part], self._candidates(same[part], self.probed[lists.cell[same[0]]], memory)

    def knn(
        self, k: int, rows: Int64[ndarray, " q"] | None = None
    ) -> Iterator[tuple[Int64[ndarray, " b"], Float32[ndarray, "b k"], Int64[ndarray, "b k"]]]:
        """Blocks of rows with their k nearest, themselves included: squared distances and rows, in no order.

        1 <= k <= n. If the probed lists hold fewer than k images, the rest is inf and row -1.
        """
        x = self.lists.x
        total = len(x) if rows is None else len(rows)
        gpu = clustering.on_gpu(k)
        how = self.about.get("neighbours", "exact")
        log.info("neighbours: %d of each of %d images, %s", k, total, how if gpu else f"{how}, on the CPU")
        with tqdm(total=total, desc="neighbours", disable=None, unit=" images") as bar:
            if gpu:
                found = clustering.knn_gpu(x, np.arange(total) if rows is None else rows, k)
            else:
                queries = max(1, min(geometry.QUERIES, geometry.QUERIES**2 // k))
                blocks = self.blocks(rows, queries)
                found = ((part, *k_smallest(candidates, len(part), k)) for part, candidates in blocks)
            for part, sq_dist, row in found:
                yield part, sq_dist, row
                bar.update(len(part))

    def mean_sq_dist(self, k: int, rows: Int64[ndarray, " q"] | None = None) -> Float32[ndarray, " q"]:
        """The mean squared distance of each row to its k nearest, itself included; to fewer, if fewer were found."""
        means = np.empty(len(self.lists.x), np.float32)
        for part, sq_dist, _ in self.knn(k, rows):
            finite = np.isfinite(sq_dist)
            means[part] = np.where(finite, sq_dist, 0).sum(axis=1) / finite.sum(axis=1)
        return means if rows is None else means[rows]

    def _candidates(
        self, rows: Int64[ndarray, " q"], probed: Int64[ndarray, " p"] | None, memory: Float32[ndarray, " m"]
    ) -> Candidates:
        lists, left = self.lists, left_factor(self.lists.x[rows])
        places = None if probed is None else np.concatenate([np.arange(*lists.starts[i : i + 2]) for i in probed])
        for part in spans(len(lists.x) if places is None else len(places), geometry.POINTS):
            where = part if places is None else places[part]
            out = memory[: len(rows) * (part.stop - part.start)].reshape(len(rows), -1)
            yield lists.order[where], np.matmul(left, lists.right_factors[where].T, out=out)
