"""A file that holds one matrix of floats: in NumPy's format, in an archive of such arrays, or in a Parquet column.

Files are read in blocks, so the peak of memory is the float32 result and a block, whatever the numbers' size on disk.
Nothing in a file is ever executed: arrays of objects, which NumPy keeps as pickles, are refused.
"""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase, RawIOBase
from pathlib import Path
from typing import cast
from zipfile import BadZipFile, ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32, Shaped
from numpy import ndarray

from pipeline.base.errors import ArtifactError, first_line

MAX_LENGTH = 1e15  # of a vector: a float32 then holds the sum of 80 million squared distances
BLOCK_BYTES = 1 << 24  # of a file in memory beside the result
NAMED = 8  # arrays or columns that a refusal names
NPY, NPZ, PARQUET = "a .npy array of numbers", "a .npz archive of arrays", "a Parquet file"


@dataclass(frozen=True)
class MatrixFile(ABC):
    """A file that was looked into and is known to hold a matrix of floats."""

    file: Path
    where: str
    shape: tuple[int, int]

    @abstractmethod
    def fill(self, x: Float32[ndarray, "n d"], finite: Bool[ndarray, " n"]) -> list[str]:
        """Writes the rows to x as they are; `finite` becomes false where one is not; returns the keys, or nothing."""

    def read(self, x: Float32[ndarray, "n d"]) -> list[str]:
        """Writes the rows to x, checks them and returns the keys."""
        finite = np.ones(len(x), bool)
        with np.errstate(over="ignore"):  # what is too long for float32 is found below
            keys = self.fill(x, finite)
            self.refuse(finite, np.einsum("nd,nd->n", x, x) <= MAX_LENGTH**2)
        return keys

    def refuse(self, finite: Bool[ndarray, " n"], short: Bool[ndarray, " n"]) -> None:
        """Raises where a row is not finite, or longer than `MAX_LENGTH`."""
        bad, long = np.flatnonzero(~finite), np.flatnonzero(~short)
        if bad.size:
            raise ArtifactError(
                f"{self.where}: expected finite numbers, got {bad.size} rows with NaN or infinity, first {bad[0]}"
            )
        if long.size:
            raise ArtifactError(
                f"{self.where}: expected vectors of length {MAX_LENGTH:g} at most, got {long.size} longer, "
                f"first {long[0]}"
            )


@dataclass(frozen=True)
class _Header:
    """What an array in NumPy's format says of itself."""

    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype
    start: int  # where the numbers begin

    @classmethod
    def read(cls, handle: BufferedIOBase) -> "_Header":
        """Reads it; raises ValueError."""
        version = np.lib.format.read_magic(handle)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version[0]}.{version[1]} of the format")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return cls(*read(handle), handle.tell())

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


@dataclass(frozen=True)
class Array(MatrixFile):
    """A matrix in NumPy's format, in its own file or as a member of an archive."""

    header: _Header
    member: str | None

    @classmethod
    def of_file(cls, file: Path) -> "Array":
        """The matrix in a `.npy`."""
        with _refusing(file, NPY), file.open("rb") as handle:
            if handle.read(2) == b"PK":
                raise ArtifactError(f"{file}: expected {NPY}, got an archive of arrays (.npz)")
            handle.seek(0)
            header = _Header.read(handle)
        return cls(file, str(file), _shape(file, header), header, None)._whole(file.stat().st_size, NPY)

    @classmethod
    def of_archive(cls, file: Path, name: str | None) -> "Array":
        """The matrix of that name in a `.npz`, or the only one."""
        found = {}
        with _refusing(file, NPZ), ZipFile(file) as archive:
            for info in archive.infolist():
                with archive.open(info) as handle:
                    found[info.filename.removesuffix(".npy")] = _Header.read(cast(BufferedIOBase, handle)), info
        listed = _listed(f"{key} {header}" for key, (header, _) in found.items())
        fit = [key for key, (header, _) in found.items() if _is_matrix(header)]
        if name is None and len(fit) != 1:
            expected = f"one array of floats of shape (n, d), or {file.name}:name for one of several"
            raise ArtifactError(f"{file}: expected {expected}, got {listed}")
        name = name or fit[0]
        if name not in found:
            raise ArtifactError(f"{file}: expected an array {name}, got {listed}")
        header, info = found[name]
        where = f"{file}:{name}"
        return cls(file, where, _shape(where, header), header, info.filename)._whole(info.file_size, NPZ)

    def _whole(self, size: int, kind: str) -> "Array":
        """Itself, refused where there are fewer bytes than its numbers take: before memory is asked for."""
        needed = self.shape[0] * self.shape[1] * self.header.dtype.itemsize
        if size - self.header.start < needed:
            raise ArtifactError(f"{self.where}: expected {kind}, got {size - self.header.start} of its {needed} bytes")
        return self

    def fill(self, x: Float32[ndarray, "n d"], finite: Bool[ndarray, " n"]) -> list[str]:
        kind = NPY if self.member is None else NPZ
        with _refusing(self.where, kind), _numbers(self.file, self.member) as handle:
            handle.read(self.header.start)
            lines, width = self.shape[::-1] if self.header.by_columns else self.shape
            memory = np.empty((max(1, BLOCK_BYTES // (width * self.header.dtype.itemsize)), width), self.header.dtype)
            for start in range(0, lines, len(memory)):
                block = memory[: lines - start]
                _fill(block, handle)
                part = slice(start, start + len(block))
                if self.header.by_columns:
                    x[:, part] = block.T
                    finite &= np.isfinite(block).all(axis=0)
                else:
                    x[part] = block
                    finite[part] = np.isfinite(block).all(axis=1)
        return []

    def rows(self, start: int, stop: int) -> Shaped[ndarray, "b d"]:
        """These rows as they are, of a file that keeps its numbers row by row."""
        block = np.empty((stop - start, self.shape[1]), self.header.dtype)
        with _refusing(self.where, NPY), self.file.open("rb", buffering=0) as handle:
            handle.seek(self.header.start + start * block.itemsize * self.shape[1])
            _fill(block, handle)
        return block


@dataclass(frozen=True)
class Table(MatrixFile):
    """A Parquet file with one column of lists of floats, of fixed or of variable length."""

    column: str
    keyed: bool

    @classmethod
    def of_file(cls, file: Path) -> "Table":
        """Looks at the columns, and at the first row for the length."""
        with _refusing(file, PARQUET), _streamed(file) as table:
            schema, num_rows = table.schema_arrow, table.metadata.num_rows
            fit = [column for column in schema if _is_vector(column.type)]
            if len(fit) != 1:
                listed = _listed(f"{column.name} {column.type}" for column in schema)
                raise ArtifactError(f"{file}: expected one column of lists of floats, got {listed}")
            keyed = "key" in schema.names
            if keyed and not _is_text(schema.field("key").type):
                raise ArtifactError(f"{file}: key: expected a column of text, got {schema.field('key').type}")
            first = next(table.iter_batches(1, columns=[fit[0].name]), None)
        if first is not None and first.column(0).null_count:
            raise ArtifactError(f"{file}: expected a vector in every row, got none in row 0")
        dim = 0 if first is None else len(first.column(0).flatten())
        if dim == 0:
            found = f"{fit[0].type.value_type} {(num_rows, dim)}"
            raise ArtifactError(f"{file}: expected floats of shape (n, d), n and d at least 1, got {found}")
        return cls(file, str(file), (num_rows, dim), fit[0].name, keyed)

    def fill(self, x: Float32[ndarray, "n d"], finite: Bool[ndarray, " n"]) -> list[str]:
        keys: list[str] = []
        dim = x.shape[1]
        with _refusing(self.file, PARQUET), _streamed(self.file) as table:
            start = 0
            names = [self.column, "key"] if self.keyed else [self.column]
            # Of 8 bytes a number at most, and pyarrow holds some eight batches.
            step = max(1, BLOCK_BYTES // (64 * dim))
            for batch in table.iter_batches(step, columns=names, use_threads=False):
                vectors = batch.column(self.column)
                self._refuse(vectors.is_null(), start, "a vector in every row, got none")
                lengths = pc.list_value_length(vectors)
                self._refuse(
                    pc.not_equal(lengths, dim), start, f"vectors of {dim} numbers as in row 0, got another count"
                )
                numbers = vectors.flatten()
                self._refuse(numbers.is_null(), start * dim, "numbers, got null", dim)
                block = numbers.to_numpy(zero_copy_only=False).reshape(-1, dim)
                part = slice(start, start + len(block))
                x[part], finite[part] = block, np.isfinite(block).all(axis=1)
                if self.keyed:
                    self._refuse(batch.column("key").is_null(), start, "a key in every row, got none")
                    keys += batch.column("key").to_pylist()
                start = part.stop
        return keys

    def _refuse(self, wrong: pa.BooleanArray, start: int, says: str, step: int = 1) -> None:
        at = pc.index(wrong, True).as_py()
        if at >= 0:
            raise ArtifactError(f"{self.file}: expected {says} in row {(start + at) // step}")


def _fill(block: Shaped[ndarray, "b d"], handle: RawIOBase | BufferedIOBase) -> None:
    """Reads as many bytes as the block has; raises EOFError where the file has fewer."""
    rest = block.reshape(-1).view(np.uint8).data
    while len(rest):
        num = handle.readinto(rest)  # Linux reads 2 GB at a time at most
        if not num:
            raise EOFError("fewer bytes than there were")
        rest = rest[num:]


@contextmanager
def _numbers(file: Path, member: str | None) -> Iterator[BufferedIOBase]:
    """The bytes of a file, or of a member of an archive."""
    if member is None:
        with file.open("rb") as handle:
            yield handle
    else:
        with ZipFile(file) as archive, archive.open(member) as handle:
            yield cast(BufferedIOBase, handle)


def _streamed(file: Path) -> pq.ParquetFile:
    """A table that is read page by page; by itself pyarrow reads a group of rows ahead, which may be all of them."""
    return pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)


@contextmanager
def _refusing(where: Path | str, kind: str) -> Iterator[None]:
    """Turns what the readers of the formats raise of a spoilt file into an ArtifactError of one line."""
    try:
        yield
    except (ValueError, EOFError, OSError, RuntimeError, BadZipFile, zlib.error, pa.ArrowException) as error:
        raise ArtifactError(f"{where}: expected {kind}, got: {first_line(error)}") from error


def _shape(where: Path | str, header: _Header) -> tuple[int, int]:
    """The shape of a matrix; refuses what is none."""
    if not _is_matrix(header):
        raise ArtifactError(f"{where}: expected floats of shape (n, d), n and d at least 1, got {header}")
    return header.shape[0], header.shape[1]


def _is_matrix(header: _Header) -> bool:
    return len(header.shape) == 2 and np.issubdtype(header.dtype, np.floating) and min(header.shape) > 0


def _is_vector(column: pa.DataType) -> bool:
    lists = pa.types.is_list(column) or pa.types.is_large_list(column) or pa.types.is_fixed_size_list(column)
    return lists and pa.types.is_floating(column.value_type)


def _is_text(column: pa.DataType) -> bool:
    if pa.types.is_dictionary(column):
        column = column.value_type
    return pa.types.is_string(column) or pa.types.is_large_string(column)


def _listed(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    all_names = list(names)
    more = [f"and {len(all_names) - NAMED} more"] if len(all_names) > NAMED else []
    return ", ".join([*all_names[:NAMED], *more]) or "nothing"
