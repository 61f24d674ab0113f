"""Files written whole or not at all, and the plain formats that artifacts are made of: JSON, CSV, digests."""

import codecs
import csv
import hashlib
import io
import json
import logging
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.base.errors import ArtifactError

log = logging.getLogger(__name__)


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
    """Header and rows of a CSV whose first columns are `columns`, in capitals or not.

    It may be as a spreadsheet saves it: with commas, semicolons or tabs, a line `sep=;` before all, in UTF-8 with
    a mark or not, UTF-16 or cp1252, with rows and cells at the ends that are empty. Raises ArtifactError for a short or
    long row, by its line, a column of two places and quotes that do not end.
    """
    text = _table_text(path)
    first, _, rest = text.partition("\n")
    told = re.fullmatch(r'"?sep=(.)"?\s*', first, re.IGNORECASE)
    bare = re.sub(r'"[^"]*"', "", next(filter(str.strip, text.splitlines()), ""))  # commas in quotes separate nothing
    delimiter = told[1] if told else max(",;\t", key=bare.count)
    reader = csv.reader(io.StringIO(rest if told else text, newline=""), delimiter=delimiter)
    try:
        lines = [(number, row) for number, row in enumerate(reader, 2 if told else 1) if any(map(str.strip, row))]
    except csv.Error as error:
        raise ArtifactError(f"{path}: line {reader.line_num}: expected a CSV, got: {error}") from error
    header = [name.strip() for name in lines[0][1]] if lines else []
    twice = next((name for at, name in enumerate(header) if name and name in header[:at]), None)
    if twice:
        raise ArtifactError(f"{path}: expected each column once, got {twice} twice")
    if [name.lower() for name in header[: len(columns)]] != [name.lower() for name in columns]:
        raise ArtifactError(f"{path}: expected the columns {','.join(columns)}, got {','.join(header) or 'nothing'}")
    header[: len(columns)] = columns
    body = []
    for line, row in lines[1:]:
        if len(row) < len(header) or any(map(str.strip, row[len(header) :])):
            raise ArtifactError(f"{path}: line {line}: expected {len(header)} values, got {len(row)}")
        body.append(row[: len(header)])
    return header, body


def _table_text(path: Path) -> str:
    """The text of a CSV in one of the codes that spreadsheets write: a mark or zeros tell UTF-16."""
    if not path.is_file():
        raise ArtifactError(f"{path}: expected a file, found none")
    data = path.read_bytes()
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        codes = ["utf-16"]
    elif 0 in data[:2]:
        codes = ["utf-16-be" if data[0] == 0 else "utf-16-le"]
    else:
        codes = ["utf-8-sig", "cp1252"]
    for code in codes:
        with suppress(UnicodeDecodeError):
            text = data.decode(code)
            if code == "cp1252":
                log.warning("%s is no UTF-8, and was read as cp1252: look at its letters", path)
            return text
    raise ArtifactError(f"{path}: expected text in UTF-8, got bytes of another code; save it as CSV UTF-8")


def read_text(path: Path) -> str:
    """The text of a file. Raises ArtifactError for one that is missing, or whose bytes are no UTF-8."""
    if not path.is_file():
        raise ArtifactError(f"{path}: expected a file, found none")
    try:
        return path.read_text(encoding="utf-8")
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
