"""Files written whole or not at all, and the plain formats that artifacts are made of: JSON, CSV, digests."""

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.base.errors import ArtifactError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; it is renamed into place only if the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, spare: Collection[str] = ()) -> Iterator[Path]:
    """Yields an empty folder beside `path` to fill; it takes the place of `path` only if the block ends well.

    Raises ArtifactError rather than replace a folder that holds what the new one does not: it is somebody else's.
    Hidden files do not count, nor the names in `spare`.
    """
    path = path.resolve()
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        if path.exists():
            ours = {entry.name for entry in part.iterdir()} | set(spare)
            foreign = sorted(e.name for e in path.iterdir() if e.name not in ours and not e.name.startswith("."))
            if foreign:
                raise ArtifactError(f"{path}: expected a folder of this command's own, found {foreign[0]} in it")
            shutil.rmtree(path)
        part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Sorted keys, one value a line: the same value gives the same bytes, and a readable diff."""
    with whole_file(path) as part:
        part.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file, or an ArtifactError that names the file."""
    try:
        value = json.loads(read_text(path))
    except ValueError as error:
        raise ArtifactError(f"{path}: expected JSON, got: {error}") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a header and rows with Unix line ends."""
    with whole_file(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: Path, columns: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a CSV whose first columns are `columns`.

    Raises ArtifactError for a short or long row, by its line, a column of two places and quotes that do not end.
    """
    # utf-8-sig: spreadsheets put a byte-order mark in front of the first column's name.
    reader = csv.reader(io.StringIO(read_text(path, "utf-8-sig"), newline=""))
    try:
        rows = list(reader)
    except csv.Error as error:
        raise ArtifactError(f"{path}: line {reader.line_num}: expected a CSV, got: {error}") from error
    header = [name.strip() for name in rows[0]] if rows else []
    twice = next((name for at, name in enumerate(header) if name and name in header[:at]), None)
    if twice:
        raise ArtifactError(f"{path}: expected each column once, got {twice} twice")
    if header[: len(columns)] != list(columns):
        raise ArtifactError(f"{path}: expected the columns {','.join(columns)}, got {','.join(header) or 'nothing'}")
    body = []
    for line, row in enumerate(rows[1:], 2):
        if len(row) not in (0, len(header)):
            raise ArtifactError(f"{path}: line {line}: expected {len(header)} values, got {len(row)}")
        if row:
            body.append(row)
    return header, body


def read_text(path: Path, encoding: str = "utf-8") -> str:
    """The text of a file. Raises ArtifactError for one that is missing, or whose bytes are no such text."""
    if not path.is_file():
        raise ArtifactError(f"{path}: expected a file, found none")
    try:
        return path.read_text(encoding=encoding)
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: expected UTF-8 text, got bytes that are not ({error.reason})") from error


def number(file: Path, text: str) -> float:
    """The number in a cell of a file, or an ArtifactError that names the file."""
    try:
        return float(text)
    except ValueError as error:
        raise ArtifactError(f"{file}: expected a number, got {text!r}") from error


def check_once(keys: Iterable[str], where: str) -> None:
    """Raises ArtifactError unless each key is there once."""
    for before, after in pairwise(sorted(keys)):
        if before == after:
            raise ArtifactError(f"{where}: key {after}: expected each key once, got it twice")


def check_keys(keys: Sequence[str], where: str) -> None:
    """Raises ArtifactError unless the keys are sorted, each once; `where` is the file."""
    for before, after in pairwise(keys):
        if before >= after:
            raise ArtifactError(f"{where}: expected keys that are sorted and unique, got {before} before {after}")
