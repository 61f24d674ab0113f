"""Existing WebDataset tars, indexed where they lie and never rewritten: images by offset, `cls` or `json` as answers.

A sample is all members with one key, which ends at the first dot of the name's last part. Only the names of members and
the labels in them are read here; nothing is extracted, and no URL or command is ever followed.
"""

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.artifacts import REMOTE
from pipeline.data.images import FORMATS
from pipeline.errors import SourceError
from pipeline.sources.source import Item, Listing, Source, Span
from pipeline.sources.walk import SPLITS, files_below, settle_splits, split_in

IMAGES = tuple(extension for extensions in FORMATS.values() for extension in extensions)
SHOWN = 10  # endings in a message, at most
BLOCK = 512  # bytes; a tar ends with blocks of zeros


class Shards(Source):
    """A folder of `.tar` files, at any depth; splits by a sub-folder or the start of a file's name, if they say so."""

    path: str | tuple[str, ...]

    @property
    def behind_urls(self) -> bool:
        """Whether they are named by URLs that may be asked: `RemoteTars` lists them then."""
        first = self.path if isinstance(self.path, str) else next(iter(self.path), "")
        return first.startswith(tuple(f"{kind}://" for kind in REMOTE))

    def listing(self) -> Listing:
        """Images and answers by the names and label members in the tars."""
        if not isinstance(self.path, str) or re.match(r"\w+:", self.path):
            raise SourceError(f"{self.path}: expected a folder of .tar files, got a URL or a command")
        root = Path(self.path)
        tars = [file for file in files_below(root) if file.name.endswith(".tar")]
        if not tars:
            raise SourceError(f"{root}: expected .tar files, found none")
        splits = settle_splits({str(tar): split_of(tar.relative_to(root)) for tar in tars}, "sub-folders or names")
        items = [
            item
            for tar in tars
            if (split := splits[str(tar)]) != "unused"
            for item in items_in(tar, tar.relative_to(root).as_posix(), split)
        ]
        return Listing(("label",), items)


def split_of(tar: Path) -> str | None:
    """What the sub-folders or, failing these, the name of a tar say: `train/a.tar`, `train-000000.tar`."""
    start = re.match(f"({'|'.join(SPLITS)})(ing|id|idation)?(?![a-z])", tar.name.lower())
    return next(filter(None, map(split_in, tar.parts[:-1])), start.group(1) if start else None)


def items_in(tar: Path, name: str, split: str | None) -> Iterator[Item]:
    """The images of a tar and their answers, named below `name`. Raises SourceError for a tar that is spoilt."""
    samples: dict[str, dict[str, tarfile.TarInfo]] = {}
    for member in _members(tar):
        folder, slash, base = member.name.rpartition("/")
        stem, dot, extension = base.partition(".")
        if not (stem and dot) or member.isdir():
            continue
        parts = samples.setdefault(folder + slash + stem, {})
        if not member.isreg() or member.sparse is not None:
            raise SourceError(f"{tar}: {member.name}: expected a plain file, got a link or a sparse file")
        if extension.lower() in parts:
            raise SourceError(f"{tar}: {member.name}: expected one member of this key and extension, got two")
        parts[extension.lower()] = member
    endings = {extension.rpartition(".")[2] for parts in samples.values() for extension in parts}
    if endings and not endings & {*IMAGES}:
        found = ", ".join(sorted(endings)[:SHOWN])
        raise SourceError(f"{tar}: expected images ({', '.join(IMAGES)}), got only members that end in {found}")
    for key, parts in samples.items():
        images = [member for extension, member in parts.items() if extension.rpartition(".")[2] in IMAGES]
        if len(images) > 1:
            raise SourceError(f"{tar}: {key}: expected one image, got {' and '.join(image.name for image in images)}")
        for image in images:
            label = _label(tar, parts)
            answer = None if label is None else (label,)
            yield Item(f"{name}/{key}", split, answer, Span(tar, image.offset_data, image.size))


def _members(tar: Path) -> Iterator[tarfile.TarInfo]:
    """All members, to the mark at the tar's end: `tarfile` alone takes a cut or spoilt header for the end."""
    total = tar.stat().st_size
    try:
        with tarfile.open(tar, "r:") as file:
            for member in file:
                if member.offset_data + member.size > total:
                    raise SourceError(
                        f"{tar}: {member.name}: expected {member.size} bytes from byte {member.offset_data}, "
                        f"got a tar truncated at byte {total}"
                    )
                yield member
            end = file.offset
    except tarfile.TarError as error:
        raise SourceError(f"{tar}: expected a tar, got: {error}") from error
    with tar.open("rb") as rest:
        rest.seek(end)
        if rest.read(BLOCK) != bytes(BLOCK):
            raise SourceError(f"{tar}: expected a member or the tar's end at byte {end}: it is truncated or spoilt")
        while tail := rest.read(1 << 20):
            if any(tail):
                raise SourceError(
                    f"{tar}: expected nothing after the tar's end at byte {end}, got more: joined by cat?"
                )


def _label(tar: Path, parts: dict[str, tarfile.TarInfo]) -> str | None:
    """The class that a `cls` or `json` member names, a number or a text; None where neither does."""
    member = parts.get("cls") or parts.get("json")
    if member is None:
        return None
    with tar.open("rb") as file:
        file.seek(member.offset_data)
        data = file.read(member.size)
    try:
        value: Any = data.decode().strip()
        if "cls" not in parts:
            value = json.loads(value)
            value = value.get("label", value.get("cls")) if isinstance(value, dict) else data
    except ValueError as error:  # bytes that are no UTF-8, text that is no JSON
        raise SourceError(f"{tar}: {member.name}: expected a label, got: {error}") from error
    if isinstance(value, bool) or not isinstance(value, int | str | None):
        raise SourceError(f"{tar}: {member.name}: expected a label that is a number or a text, got {value!r}")
    return None if value in (None, "") else str(value)
