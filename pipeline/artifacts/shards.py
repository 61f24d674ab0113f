"""Shards of images: `manifest.json` says which tars there are, `index.parquet` where each image lies in them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import SupportsIndex, overload
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Int64
from numpy import ndarray

from pipeline.base.errors import ArtifactError, first_line
from pipeline.base.files import check_keys, read_json, sha256, whole_file, write_json

AT_ONCE = 65536  # strings that are made at a time
REMOTE = ("https", "http", "s3", "gs")  # where shards may lie, beside this machine


def scheme(path: str) -> str:
    """The scheme of a shard's URL, or "" for a path of this machine. Raises ArtifactError for other URLs."""
    start = re.match(r"([A-Za-z][\w+.-]*):", path)
    if not start:
        return ""
    name, url = start[1], urlsplit(path)
    if name not in REMOTE or not url.netloc or "::" in path:
        raise ArtifactError(f"{path}: expected a path or a URL that begins with {'://, '.join(REMOTE)}://, got {name}:")
    if "@" in url.netloc:
        raise ArtifactError(f"{name}://...@{url.hostname}{url.path}: expected a URL without a user's name, got one")
    return name


@dataclass(frozen=True)
class Shard:
    """One tar: its path or URL, size and digest when it was ingested, and how many images of the split lie in it."""

    path: str
    bytes: int
    sha256: str
    count: int

    def __post_init__(self) -> None:
        if self.remote and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ArtifactError(f"{self.path}: expected the sha256 of a remote shard, got {self.sha256!r}")

    @property
    def remote(self) -> bool:
        """Whether the path is a URL: of this machine are only those of its bytes that a cache holds."""
        return scheme(self.path) != ""

    def check(self, *, digest: bool) -> None:
        """Refuses a local shard that is missing or changed; `digest=False` compares its size only."""
        file = Path(self.path)
        if not file.is_file():
            state = "none"
        elif file.stat().st_size != self.bytes:
            state = f"one of {file.stat().st_size} bytes"
        elif digest and sha256(file) != self.sha256:
            state = "other bytes"
        else:
            return
        raise ArtifactError(
            f"{self.path}: expected the shard of {self.bytes} bytes that was ingested, found {state}; "
            "`dvc repro -f ingest` makes it anew"
        )


@dataclass(frozen=True)
class Manifest:
    """`manifest.json`: what was ingested. `size` is (height, width) of the images that networks see."""

    source: str
    channels: int
    size: tuple[int, int]
    splits: Mapping[str, Sequence[Shard]]
    bad: Sequence[Mapping[str, str]]  # {"path", "reason"} of each image that was left out

    def count(self, split: str) -> int:
        return sum(shard.count for shard in self.splits[split])

    def write(self, file: Path) -> None:
        splits = {
            name: {"count": self.count(name), "shards": [vars(shard) for shard in shards]}
            for name, shards in self.splits.items()
        }
        head = {"source": self.source, "channels": self.channels, "size": list(self.size)}
        write_json(file, {**head, "splits": splits, "bad": list(self.bad)})

    @classmethod
    def read(cls, file: Path) -> "Manifest":
        raw = read_json(file)
        try:
            splits = {name: [Shard(**shard) for shard in split["shards"]] for name, split in raw["splits"].items()}
            height, width = raw["size"]
            return cls(raw["source"], raw["channels"], (height, width), splits, raw["bad"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{file}: expected a manifest written by ingest, got: {error!r}") from error


class Column(Sequence[str]):
    """Strings that Arrow holds: a Python string is made only for those that are asked for."""

    def __init__(self, values: Iterable[str] | pa.Array) -> None:
        self.array = values if isinstance(values, pa.Array) else pa.array(values, pa.string())

    def __len__(self) -> int:
        return len(self.array)

    @overload
    def __getitem__(self, at: SupportsIndex) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: SupportsIndex | slice) -> str | list[str]:
        if isinstance(at, slice):
            return self.array[at].to_pylist()
        return self.array[int(at)].as_py()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), AT_ONCE):
            yield from self[start : start + AT_ONCE]

    def take(self, rows: Int64[ndarray, " m"]) -> list[str]:
        return self.array.take(pa.array(rows)).to_pylist()

    def rows_of(self, values: Sequence[str], where: str, wanted: str) -> Int64[ndarray, " m"]:
        """The row of each value, where all strings are sorted and unique: a binary search for all values at once.

        Raises ArtifactError for the first value that is not there; `where` is the file that has it, `wanted` what it
        should be the key of.
        """
        asked = pa.array(values, pa.string())
        low, high = np.zeros(len(asked), np.int64), np.full(len(asked), len(self), np.int64)
        while len(searched := np.flatnonzero(low < high)):
            middle = (low[searched] + high[searched]) // 2
            less = pc.less(self.array.take(pa.array(middle)), asked.take(pa.array(searched)))
            below = less.to_numpy(zero_copy_only=False)
            low[searched[below]], high[searched[~below]] = middle[below] + 1, middle[~below]
        for value, row in zip(values, low.tolist(), strict=True):
            if row == len(self) or self[row] != value:
                raise ArtifactError(f"{where}: key {value}: expected {wanted}, found none of that key")
        return low

    def codes(self) -> tuple[list[str], Int64[ndarray, " n"]]:
        """The different strings, and which of them stands in each row."""
        coded = self.array if isinstance(self.array, pa.DictionaryArray) else self.array.dictionary_encode()
        return coded.dictionary.to_pylist(), coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)


@dataclass(frozen=True)
class Index:
    """`index.parquet`: where each image lies, `size` bytes from `offset` in the shard; rows sorted by key.

    Image members only: a reader of the index cannot reach a label that lies in an existing tar.
    """

    key: Sequence[str]
    split: Sequence[str]
    shard: Sequence[str]
    offset: Int64[ndarray, " n"]
    size: Int64[ndarray, " n"]

    def __post_init__(self) -> None:
        for name in ("key", "split", "shard"):
            values = getattr(self, name)
            object.__setattr__(self, name, values if isinstance(values, Column) else Column(values))
        keys = self._column("key").array
        wrong = np.flatnonzero(pc.greater_equal(keys[:-1], keys[1:]).to_numpy(zero_copy_only=False))
        check_keys(self.key[wrong[0] : wrong[0] + 2] if len(wrong) else (), "index.parquet")

    def _column(self, name: str) -> Column:
        return getattr(self, name)

    def rows_of(self, keys: Sequence[str], where: str, wanted: str = "a training image") -> Int64[ndarray, " m"]:
        """The rows of these keys. Raises ArtifactError for the first key without one, as `Column.rows_of` does."""
        return self._column("key").rows_of(keys, where, wanted)

    def keys_of(self, rows: Int64[ndarray, " m"]) -> list[str]:
        return self._column("key").take(rows)

    def rows(self, split: str, shard: str | None = None) -> Int64[ndarray, " m"]:
        """The rows of a split, in their order, or those of them that lie in one shard."""
        if shard is not None:
            return self.parts(split).get(shard, np.empty(0, np.int64))
        names, codes = self._column("split").codes()
        return np.flatnonzero(codes == names.index(split)) if split in names else np.empty(0, np.int64)

    def parts(self, split: str) -> Mapping[str, Int64[ndarray, " _"]]:
        """The rows of a split by shard."""
        if split not in self._parts:
            rows = self.rows(split)
            names, codes = self._shards
            order = np.argsort(codes[rows], kind="stable")
            starts = np.searchsorted(codes[rows][order], np.arange(len(names) + 1))
            by_shard = {name: rows[order[starts[i] : starts[i + 1]]] for i, name in enumerate(names)}
            self._parts[split] = {name: inside for name, inside in by_shard.items() if len(inside)}
        return self._parts[split]

    @cached_property
    def _shards(self) -> tuple[list[str], Int64[ndarray, " n"]]:
        return self._column("shard").codes()

    @cached_property
    def _parts(self) -> dict[str, Mapping[str, Int64[ndarray, " _"]]]:
        return {}

    def write(self, file: Path) -> None:
        columns = {name: self._column(name).array.cast(pa.string()) for name in ("key", "split", "shard")}
        columns |= {name: pa.array(getattr(self, name), pa.int64()) for name in ("offset", "size")}
        with whole_file(file) as part:
            pq.write_table(pa.table(columns), part)

    @classmethod
    def read(cls, file: Path, split: str | None = None) -> "Index":
        """Reads the index, or the rows of one split."""
        filters = None if split is None else [("split", "=", split)]
        try:
            table = pq.read_table(file, filters=filters, read_dictionary=["split", "shard"]).unify_dictionaries()
            key, shards, splits = (Column(_joined(table.column(name))) for name in ("key", "shard", "split"))
            offset, size = (table.column(name).to_numpy().astype(np.int64) for name in ("offset", "size"))
        except (OSError, KeyError, pa.ArrowException) as error:
            raise ArtifactError(f"{file}: expected an index written by ingest, got: {first_line(error)}") from error
        del table
        pa.default_memory_pool().release_unused()  # Arrow would keep twice what the columns take
        return cls(key, splits, shards, offset, size)


def _joined(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks else pa.array([], column.type)
