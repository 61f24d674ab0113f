"""JSON that another program wrote: of a bounded size, and checked value by value."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pipeline.base.errors import SourceError

MOST_BYTES = 100_000_000  # some 100,000 images of Label Studio's: 11 s, and five times as much memory
KINDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number"}

T = TypeVar("T")


def read_bytes(file: Path) -> bytes:
    """A file's bytes. Raises SourceError for one that is missing or larger than `MOST_BYTES`."""
    if not file.is_file():
        raise SourceError(f"{file}: expected a file, found none")
    size = file.stat().st_size
    if size > MOST_BYTES:
        raise SourceError(f"{file}: expected at most {MOST_BYTES:,} bytes, got {size:,}; export it in parts")
    return file.read_bytes()


def load(file: Path) -> Any:
    """The value in a JSON file, with a byte order mark or not."""
    try:
        return json.loads(read_bytes(file).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SourceError(f"{file}: expected JSON in UTF-8, got bytes that are not ({error.reason})") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{file}: expected JSON, got: {error}") from error


def want(value: Any, kind: type[T], where: str) -> T:
    """The value, if it is of this kind; `where` is the file and the place in it."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise SourceError(f"{where}: expected {KINDS[kind]}, got {json.dumps(value)[:60]}")
    if isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value):  # half a sign, as \ud800 gives
        raise SourceError(f"{where}: expected a text in Unicode, got {json.dumps(value)[:60]}")
    return value


def field(node: dict[str, Any], name: str, kind: type[T], where: str) -> T:
    """The value of this name in an object, if it is there and of this kind."""
    if name not in node:
        raise SourceError(f"{where}: expected {name}, found only {', '.join(node)[:60] or 'nothing'}")
    return want(node[name], kind, f"{where}: {name}")
