"""The files between stages, one class each: the pipeline's public interface and the only code that knows their formats.

Invariants are checked when a value is made, so they hold for the stage that writes it and the one that reads it.
Nothing here imports torch: a selector runs on NumPy and FAISS alone.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, SupportsIndex, overload
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import safetensors.numpy
from jaxtyping import Float, Float32, Int64
from numpy import ndarray
from safetensors import SafetensorError

from pipeline.errors import ArtifactError, first_line
from pipeline.files import read_csv, read_json, read_text, sha256, whole_file, write_csv, write_json
from pipeline.parts import KeyLines, Parts
from pipeline.vectors import read_vectors

AT_ONCE = 65536  # strings that are made at a time
REMOTE = ("https", "http", "s3", "gs")  # where shards may lie, beside this machine
TAKEN = ("knn", "linear", "probe", "random_probe")  # what other metrics begin with: no names for a level of classes


def scheme(path: str) -> str:
    """The scheme of a URL that a shard may have, or "" for a path of this machine. Raises ArtifactError for others."""
    found = re.match(r"([A-Za-z][\w+.-]*):", path)
    if not found:
        return ""
    url = urlsplit(path)
    if found[1] not in REMOTE or not url.netloc or "::" in path:
        raise ArtifactError(
            f"{path}: expected a path or a URL that begins with {'://, '.join(REMOTE)}://, got {found[1]}:"
        )
    if "@" in url.netloc:
        raise ArtifactError(f"{found[1]}://...@{url.hostname}{url.path}: expected a URL without a user's name, got one")
    return found[1]


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
            found = "none"
        elif file.stat().st_size != self.bytes:
            found = f"one of {file.stat().st_size} bytes"
        elif digest and sha256(file) != self.sha256:
            found = "other bytes"
        else:
            return
        raise ArtifactError(
            f"{self.path}: expected the shard of {self.bytes} bytes that was ingested, found {found}; "
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
        """Number of images in a split."""
        return sum(shard.count for shard in self.splits[split])

    def write(self, file: Path) -> None:
        """Writes the manifest as JSON."""
        splits = {
            name: {"count": self.count(name), "shards": [vars(shard) for shard in shards]}
            for name, shards in self.splits.items()
        }
        head = {"source": self.source, "channels": self.channels, "size": list(self.size)}
        write_json(file, {**head, "splits": splits, "bad": list(self.bad)})

    @classmethod
    def read(cls, file: Path) -> "Manifest":
        """Reads a manifest."""
        raw = read_json(file)
        try:
            splits = {name: [Shard(**shard) for shard in split["shards"]] for name, split in raw["splits"].items()}
            height, width = raw["size"]
            return cls(raw["source"], raw["channels"], (height, width), splits, raw["bad"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{file}: expected a manifest written by ingest, got: {error!r}") from error


class Column(Sequence[str]):
    """Strings as Arrow holds them: of a million, a Python string is made for each that is asked for and no other."""

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
        """Those in some rows."""
        return self.array.take(pa.array(rows)).to_pylist()

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
        _check_keys(self.key[wrong[0] : wrong[0] + 2] if len(wrong) else (), "index.parquet")

    def _column(self, name: str) -> Column:
        return getattr(self, name)

    def keys_of(self, rows: Int64[ndarray, " m"]) -> list[str]:
        """The keys of some rows."""
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
            found = {name: rows[order[starts[i] : starts[i + 1]]] for i, name in enumerate(names)}
            self._parts[split] = {name: own for name, own in found.items() if len(own)}
        return self._parts[split]

    @cached_property
    def _shards(self) -> tuple[list[str], Int64[ndarray, " n"]]:
        return self._column("shard").codes()

    @cached_property
    def _parts(self) -> dict[str, Mapping[str, Int64[ndarray, " _"]]]:
        return {}

    def write(self, file: Path) -> None:
        """Writes the index as Parquet."""
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


@dataclass(frozen=True)
class Sources:
    """`sources.csv`: the path of each key within its source. For `label`, `evaluate` and `report` only."""

    path: Mapping[str, str]

    def write(self, file: Path) -> None:
        """Writes `key,path`, sorted by key."""
        write_csv(file, ("key", "path"), sorted(self.path.items()))

    @classmethod
    def read(cls, file: Path) -> "Sources":
        """Reads the table."""
        return cls({row[0]: row[1] for row in read_csv(file, ("key", "path"))[1]})


@dataclass(frozen=True)
class Attributes:
    """`attributes.parquet`: of each image its group ("" is none) and what its label costs, in any unit; no labels.

    A column of costs is there for all images or for none.
    """

    key: Sequence[str]
    group: Sequence[str]
    cost: Float[ndarray, " n"] | None

    def write(self, file: Path) -> None:
        """Writes the columns key, group and, where there are costs, cost."""
        columns = {"key": pa.array(self.key, pa.string()), "group": pa.array(self.group, pa.string())}
        columns |= {} if self.cost is None else {"cost": pa.array(self.cost, pa.float64())}
        with whole_file(file) as part:
            pq.write_table(pa.table(columns), part)

    @classmethod
    def priced(cls, file: Path) -> bool:
        """Whether a Parquet file or a CSV has costs; told from its head."""
        try:
            if file.suffix.lower() == ".csv":
                with file.open(encoding="utf-8-sig") as lines:
                    return "cost" in [name.strip() for name in lines.readline().split(",")]
            return "cost" in pq.read_schema(file).names
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ArtifactError(
                f"{file}: expected the columns key, group and cost, got: {first_line(error)}"
            ) from error

    @classmethod
    def read(cls, file: Path, keys: Sequence[str]) -> "Attributes":
        """Reads the rows of `keys` from Parquet or CSV, in their order; only the column key must be there.

        A group may be text or a number; null and NaN are no group. Refuses a key without a row or with two, and a cost
        that is no finite number above 0.
        """
        try:
            table = _columns_of(file, ("key", "group", "cost"))
            rows = {str(key): row for row, key in enumerate(table["key"])}
            group = ["" if name is None or name != name else str(name) for name in table.get("group", ())]
            cost = np.array(table["cost"], np.float64) if "cost" in table else None
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
            raise ArtifactError(
                f"{file}: expected the columns key, group and cost, got: {first_line(error)}"
            ) from error
        if len(rows) < len(table["key"]):
            raise ArtifactError(f"{file}: expected each key once, got {len(table['key'])} rows of {len(rows)} keys")
        for key in keys:
            if key not in rows:
                raise ArtifactError(f"{file}: expected a row for every image to select from, got none for {key}")
            if cost is not None and not 0 < cost[rows[key]] < np.inf:
                raise ArtifactError(f"{file}: key {key}: expected a finite cost above 0, got {cost[rows[key]]:g}")
        own = [rows[key] for key in keys]
        return cls(keys, [group[row] if group else "" for row in own], None if cost is None else cost[own])


def level_names(depth: int) -> tuple[str, ...]:
    """Names for `depth` levels, finest first: label, coarse, coarse2 and so on."""
    return ("label", "coarse", *(f"coarse{n}" for n in range(2, depth)))[:depth]


@dataclass(frozen=True)
class Labels:
    """`answers.csv` and `labels.csv`: for each key its class name at each level, finest first; "" is not labelled."""

    levels: Sequence[str]  # the first is "label"
    rows: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        for level in self.levels:
            if level in TAKEN:
                raise ArtifactError(f"labels: expected a level of another name than {', '.join(TAKEN)}, got {level!r}")

    def completed(self, where: Path) -> "Labels":
        """The same with coarser names filled in where another row of the same class has them.

        Raises ArtifactError, by key, for a class that stands below two coarser ones.
        """
        above: dict[tuple[int, str], str] = {}
        rows = {key: list(names) for key, names in self.rows.items()}
        for fill in (False, True):
            for key, names in rows.items():
                for level, (name, coarser) in enumerate(pairwise(names)):
                    if fill and name and not coarser:
                        names[level + 1] = above.get((level, name), "")
                    elif not fill and name and coarser and above.setdefault((level, name), coarser) != coarser:
                        both = f"{above[level, name]!r} and {coarser!r}"
                        raise ArtifactError(f"{where}: key {key}: expected one class above {name!r}, got {both}")
        return Labels(self.levels, rows)

    def write(self, file: Path) -> None:
        """Writes `key,label[,coarser levels]`, sorted by key."""
        write_csv(file, ("key", *self.levels), [(key, *names) for key, names in sorted(self.rows.items())])

    @classmethod
    def read(cls, file: Path) -> "Labels":
        """Reads the table; a key with two rows that differ is refused."""
        header, body = read_csv(file, ("key", "label"))
        rows: dict[str, Sequence[str]] = {}
        for key, *names in body:
            if rows.setdefault(key, names) != names:
                raise ArtifactError(f"{file}: key {key}: expected one label, got {rows[key][0]!r} and {names[0]!r}")
        return cls(header[1:], rows)


@dataclass(frozen=True)
class Classes:
    """`classes.json`: the names of the classes at each level, in the order of a model's outputs; may be empty."""

    names: Mapping[str, Sequence[str]]

    def write(self, file: Path) -> None:
        """Writes the names as JSON."""
        write_json(file, {level: list(names) for level, names in self.names.items()})

    @classmethod
    def read(cls, file: Path) -> "Classes":
        """Reads the names; refuses what is no list of them."""
        names = read_json(file)
        for level, own in names.items():
            wrong = [name for name in own if not isinstance(name, str)] if isinstance(own, list) else [own]
            if wrong:
                raise ArtifactError(f"{file}: {level}: expected a list of names, got {wrong[0]!r}")
        return cls(names)


@dataclass(frozen=True)
class Embeddings:
    """`vectors.npy` and `keys.txt`: row i is the unit vector of the image `keys[i]`; keys are sorted and unique."""

    keys: Sequence[str]
    vectors: Float32[ndarray, "n d"]

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.vectors):
            raise ArtifactError(f"keys.txt: expected {len(self.vectors)} keys, one a vector, got {len(self.keys)}")
        _check_keys(self.keys, "keys.txt")

    def write(self, folder: Path) -> None:
        """Writes both files into an existing folder."""
        self.write_blocks(folder, self.keys, [(np.arange(len(self.keys)), self.vectors)])

    @classmethod
    def write_blocks(
        cls,
        folder: Path,
        keys: Sequence[str],
        blocks: Iterable[tuple[Int64[ndarray, " b"], Float32[ndarray, "b d"]]],
    ) -> None:
        """The same of blocks of vectors, one of them in memory at a time, each with the rows where they belong."""
        _check_keys(keys, "keys.txt")
        with whole_file(folder / "vectors.npy") as part:
            table: np.memmap[Any, Any] | None = None
            for rows, vectors in blocks:
                if table is None:
                    shape = (len(keys), vectors.shape[1])
                    table = np.lib.format.open_memmap(part, "w+", np.float32, shape)
                table[rows] = vectors
            assert table is not None, "expected at least one block of vectors"
            table.flush()
        with whole_file(folder / "keys.txt") as part:
            part.write_text("".join(f"{key}\n" for key in keys), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Embeddings":
        """Reads both files."""
        return cls(read_text(folder / "keys.txt").split(), read_vectors(folder / "vectors.npy"))


@dataclass(frozen=True)
class StoredEmbeddings:
    """`Embeddings` that stay on disk."""

    keys: KeyLines
    vectors: Parts

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.vectors):
            raise ArtifactError(
                f"{self.keys.file}: expected {len(self.vectors)} keys, one a vector, got {len(self.keys)}"
            )

    @classmethod
    def open(cls, folder: Path) -> "StoredEmbeddings":
        """Reads both files once, to check them."""
        return cls(KeyLines.open(folder / "keys.txt"), Parts.open(folder / "vectors.npy"))


@dataclass(frozen=True)
class Selection:
    """`picks.csv`: the images to label, best first. What a score means is said by the selector."""

    keys: Sequence[str]
    scores: Float[ndarray, " b"]

    def __post_init__(self) -> None:
        for before, after in pairwise(sorted(self.keys)):
            if before == after:
                raise ArtifactError(f"picks.csv: key {after}: expected each key once, got it twice")

    def write(self, file: Path) -> None:
        """Writes `rank,key,score`, rank from 0."""
        rows = [
            (rank, key, f"{score:.6g}") for rank, (key, score) in enumerate(zip(self.keys, self.scores, strict=True))
        ]
        write_csv(file, ("rank", "key", "score"), rows)

    @classmethod
    def read(cls, file: Path) -> "Selection":
        """Reads the picks in rank order."""
        rows = read_csv(file, ("rank", "key", "score"))[1]
        return cls([row[1] for row in rows], np.array([number(file, row[2]) for row in rows], dtype=np.float64))


@dataclass(frozen=True)
class Predictions:
    """`predictions.csv`: each key of a split, sorted, its answer ("" is unknown), what the model says, how sure it is.

    Names of classes as strings; confidence is the probability of the predicted class, in [0, 1].
    """

    keys: Sequence[str]
    answers: Sequence[str]
    predictions: Sequence[str]
    confidence: Float[ndarray, " n"]

    def write(self, file: Path) -> None:
        """Writes `key,answer,prediction,confidence`; nine digits give a float32 back as it was."""
        sure = [f"{value:.9g}" for value in self.confidence]
        rows = zip(self.keys, self.answers, self.predictions, sure, strict=True)
        write_csv(file, ("key", "answer", "prediction", "confidence"), rows)

    @classmethod
    def read(cls, file: Path) -> "Predictions":
        """Reads the table."""
        rows = read_csv(file, ("key", "answer", "prediction", "confidence"))[1]
        keys, answers, predictions, sure = (
            (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
        )
        return cls(keys, answers, predictions, np.array([number(file, value) for value in sure], dtype=np.float64))


@dataclass(frozen=True)
class PseudoLabels:
    """`pseudo_labels.csv`: what the model says of every training image that has no label, and how sure it is."""

    keys: Sequence[str]
    predictions: Sequence[str]
    confidence: Float[ndarray, " n"]

    def write(self, file: Path) -> None:
        """Writes `key,prediction,confidence`."""
        sure = [f"{value:.9g}" for value in self.confidence]
        write_csv(file, ("key", "prediction", "confidence"), zip(self.keys, self.predictions, sure, strict=True))


@dataclass(frozen=True)
class Weights:
    """A network: `<name>.safetensors` holds its tensors, `<name>.json` what is needed to build it again."""

    arrays: Mapping[str, ndarray]
    about: Mapping[str, Any]

    def write(self, folder: Path, name: str) -> None:
        """Writes both files into an existing folder."""
        arrays = {key: np.asarray(self.arrays[key], order="C") for key in sorted(self.arrays)}
        with whole_file(folder / f"{name}.safetensors") as part:
            part.write_bytes(safetensors.numpy.save(arrays))  # by way of bytes: a full disk is then an OSError
        write_json(folder / f"{name}.json", dict(self.about))

    @classmethod
    def read(cls, folder: Path, name: str) -> "Weights":
        """Reads both files."""
        return cls(read_tensors(folder / f"{name}.safetensors"), read_json(folder / f"{name}.json"))


def read_tensors(file: Path) -> dict[str, ndarray]:
    """The arrays in a safetensors file; nothing in it is ever executed."""
    try:
        return safetensors.numpy.load_file(file)
    except FileNotFoundError as error:
        raise ArtifactError(f"{file}: expected a safetensors file, found none") from error
    except SafetensorError as error:
        raise ArtifactError(f"{file}: expected a safetensors file, got: {first_line(error)}") from error


def write_rows(file: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Writes a curve: a column for each name, `step` first; numbers with nine significant digits."""
    names = list(dict.fromkeys(("step", "loss", "learning_rate", *(name for row in rows for name in row))))
    write_csv(file, names, [[f"{row[name]:.9g}" if name in row else "" for name in names] for row in rows])


def read_rows(file: Path) -> dict[str, Float[ndarray, " n"]]:
    """The columns of a curve that `write_rows` wrote, by name; NaN where a row has no value, nothing of no curve."""
    header, body = read_csv(file, ())
    if header[:1] not in ([], ["step"]):
        raise ArtifactError(f"{file}: expected the column step first, got {header[0]}")
    columns = zip(*body, strict=True) if body else [()] * len(header)
    return {
        name: np.array([number(file, value) if value else np.nan for value in column], dtype=np.float64)
        for name, column in zip(header, columns, strict=True)
    }


def _columns_of(file: Path, names: Sequence[str]) -> dict[str, Sequence[Any]]:
    """Those of the columns that a Parquet file or a CSV has."""
    if file.suffix.lower() == ".csv":
        header, body = read_csv(file, ())
        return {name: [row[header.index(name)].strip() for row in body] for name in names if name in header}
    return pq.read_table(file, columns=[name for name in names if name in pq.read_schema(file).names]).to_pydict()


def _check_keys(keys: Sequence[str], where: str) -> None:
    for before, after in pairwise(keys):
        if before >= after:
            raise ArtifactError(f"{where}: expected keys that are sorted and unique, got {before} before {after}")


def number(file: Path, text: str) -> float:
    """The number in a cell of a file, or an ArtifactError that names the file."""
    try:
        return float(text)
    except ValueError as error:
        raise ArtifactError(f"{file}: expected a number, got {text!r}") from error
