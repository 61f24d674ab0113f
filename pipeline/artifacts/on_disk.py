"""Vectors and keys that stay on disk: of the rows a block is in memory at a time, of the keys none.

Files are read, not mapped: pages of a map count as the process's memory, and a mapped file that is cut short kills it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray
from tqdm import tqdm

from pipeline.artifacts import matrix_files
from pipeline.artifacts.matrix_files import MAX_LENGTH, Array
from pipeline.artifacts.vectors import opened_files
from pipeline.base.errors import ArtifactError

NEAR_BYTES = 1 << 16  # between two wanted rows up to which reading on is quicker than a jump
KEPT_LENGTHS = 1 << 20  # rows whose lengths are kept, at most
INDEXED = 1024  # of so many keys, the place in the file is kept of the first


@dataclass(frozen=True)
class Survey:
    """What the pass that checks all rows tells of them."""

    sha256: str  # of the numbers as float32, row by row
    mean: Float32[ndarray, " d"]
    lengths: Float32[ndarray, " s"]  # Euclidean: the shortest, the longest, and those of evenly spaced rows


@dataclass(frozen=True)
class Parts:
    """The rows of `.npy` files, one file after the other; `x[rows]` reads some of them, as float32."""

    arrays: tuple[Array, ...]
    survey: Survey
    shift: Float32[ndarray, " d"] | None = None  # that is taken from each row

    dtype = np.dtype(np.float32)

    @classmethod
    def open(cls, path: Path) -> "Parts":
        """Reads all rows once and checks them as `read_vectors` does, which tells what `path` may be."""
        arrays = []
        for part in opened_files(path):
            if not isinstance(part, Array) or part.member is not None or part.header.by_columns:
                expected = "more than machine.vectors_mb as .npy files whose rows lie one after another (order C)"
                raise ArtifactError(
                    f"{part.where}: expected {expected}, got another kind; convert it, or raise the limit"
                )
            arrays.append(part)
        return cls(tuple(arrays), _surveyed(arrays))

    @property
    def shape(self) -> tuple[int, int]:
        return int(self._ends[-1]), self.arrays[0].shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Int64[ndarray, " b"]) -> Float32[ndarray, "b d"]:
        """A slice of rows, or rows in any order; the caller bounds their number."""
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            x = self._read(start, stop)
        else:
            x = np.empty((len(rows), self.shape[1]), np.float32)
            order = rows.argsort(kind="stable")
            asked, width = rows[order], self.arrays[0].header.dtype.itemsize * self.shape[1]
            near, block = NEAR_BYTES // width, asked // max(1, matrix_files.BLOCK_BYTES // width)
            jumps = np.flatnonzero((np.diff(asked) > near) | (np.diff(block) > 0)) + 1
            for places in np.split(order, jumps) if len(rows) else []:
                own = rows[places]
                x[places] = self._read(int(own[0]), int(own[-1]) + 1)[own - own[0]]
        return x if self.shift is None else np.subtract(x, self.shift, out=x)

    @cached_property
    def centred(self) -> "Parts":
        return replace(self, shift=self.survey.mean)

    @cached_property
    def _ends(self) -> Int64[ndarray, " p"]:
        return np.cumsum([part.shape[0] for part in self.arrays])

    def _read(self, start: int, stop: int) -> Float32[ndarray, "b d"]:
        x = np.empty((stop - start, self.shape[1]), np.float32)
        at = start
        while at < stop:
            number = int(np.searchsorted(self._ends, at, "right"))
            end, part = int(self._ends[number]), self.arrays[number]
            first, last = at - (end - part.shape[0]), min(stop, end) - (end - part.shape[0])
            x[at - start : at - start + last - first] = part.rows(first, last)
            at += last - first
        return x


@dataclass(frozen=True)
class RowNumbers(Sequence[str]):
    """The keys of rows that have none: their numbers."""

    num: int

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, row: Any) -> str:
        return str(range(self.num)[row])


@dataclass(frozen=True)
class KeyLines(Sequence[str]):
    """A file of keys, one a line, sorted and each once; a lookup reads `INDEXED` of them at most."""

    file: Path
    num: int
    places: Int64[ndarray, " p"]  # where the first of each `INDEXED` lines starts

    @classmethod
    def open(cls, file: Path) -> "KeyLines":
        """Reads all keys once and checks their order."""
        if not file.is_file():
            raise ArtifactError(f"{file}: expected a file, found none")
        before, num, place = "", 0, 0
        places = []
        try:
            with file.open("rb") as lines:
                for line in lines:
                    key = line.decode().rstrip()
                    if key <= before:
                        expected = "expected keys that are sorted and unique"
                        raise ArtifactError(f"{file}: {expected}, got {before} before {key}")
                    if num % INDEXED == 0:
                        places.append(place)
                    before, num, place = key, num + 1, place + len(line)
        except UnicodeDecodeError as error:
            raise ArtifactError(f"{file}: expected UTF-8 text, got bytes that are not ({error.reason})") from error
        return cls(file, num, np.array(places, np.int64))

    def __len__(self) -> int:
        return self.num

    def __iter__(self) -> Iterator[str]:
        with self.file.open(encoding="utf-8") as lines:
            yield from (line.rstrip() for line in lines)

    def __getitem__(self, row: Any) -> str:
        row = range(self.num)[row]
        with self.file.open("rb") as lines:
            lines.seek(int(self.places[row // INDEXED]))
            for _ in range(row % INDEXED):
                lines.readline()
            return lines.readline().rstrip().decode()


def _surveyed(arrays: Sequence[Array]) -> Survey:
    count, dim = sum(part.shape[0] for part in arrays), arrays[0].shape[1]
    digest, total, row = hashlib.sha256(), np.zeros(dim), 0
    every, lengths = -(-count // KEPT_LENGTHS), list[ndarray]()
    shortest, longest = np.float32(np.inf), np.float32(0)
    with tqdm(total=count, desc="checks", disable=None, unit=" rows") as bar:
        for part in arrays:
            finite, short = np.ones(part.shape[0], bool), np.ones(part.shape[0], bool)
            step = max(1, matrix_files.BLOCK_BYTES // (4 * dim))
            for start in range(0, part.shape[0], step):
                own = slice(start, min(start + step, part.shape[0]))
                with np.errstate(over="ignore"):  # what is too long for float32 is refused
                    x = part.rows(own.start, own.stop).astype(np.float32, copy=False)
                    squares = np.einsum("nd,nd->n", x, x)
                short[own] = squares <= MAX_LENGTH**2
                if not short[own].all():  # a NaN or infinity would make the square so, too
                    finite[own] = np.isfinite(part.rows(own.start, own.stop)).all(axis=1)
                length = np.sqrt(squares)
                shortest, longest = min(shortest, length.min()), max(longest, length.max())
                lengths.append(length[-row % every :: every])
                total += x.sum(axis=0, dtype=np.float64)
                digest.update(x.data)
                row += len(x)
                bar.update(len(x))
            part.refuse(finite, short)
    found = np.concatenate([[shortest, longest], *lengths], dtype=np.float32)
    return Survey(digest.hexdigest(), (total / count).astype(np.float32), found)
