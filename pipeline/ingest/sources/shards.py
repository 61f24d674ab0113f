"""Existing WebDataset tars, indexed where they lie and never rewritten: images by offset, `cls` or `json` as answers.

A sample is all members with one key, which ends at the first dot of the name's last part. Nothing is extracted, and no
URL or command is ever followed. What lies beside the tars, such as img2dataset's tables, is passed over.
"""

import hashlib
import json
import logging
import os
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pipeline.artifacts.shards import REMOTE, Shard
from pipeline.base.errors import SourceError, first_names
from pipeline.base.tables import place_of
from pipeline.ingest.encoded import picture_of
from pipeline.ingest.files import look_below
from pipeline.ingest.progress import MB, Progress
from pipeline.ingest.source import Item, Listing, Source, Span
from pipeline.ingest.split_names import said, splits_of_names
from pipeline.parallel.cluster import map_on_cluster
from pipeline.parallel.threads import map_in_order
from pipeline.shards.decode import BadImage, Facts, probe
from pipeline.shards.kinds import FORMATS

log = logging.getLogger(__name__)

IMAGES = tuple(extension for extensions in FORMATS.values() for extension in extensions)
BLOCK = 512  # bytes; a tar ends with blocks of zeros
BUFFER = 1 << 20  # bytes that are read at once
LABELS = ("cls", "json")
PACKED = re.compile(r"\.(tar\.\w+|tgz|tbz2?|txz)$", re.IGNORECASE)
BY_NAME = "that of the sub-folders or names of the tars"

Contents = tuple[Shard, list[Item], Counter[str]]  # see `read_tar`


class Shards(Source):
    """A folder of `.tar` files, at any depth; splits by a sub-folder or the start of a file's name, if they say so."""

    path: str | tuple[str, ...]
    look: Literal["decode", "header"]

    @property
    def behind_urls(self) -> bool:
        """Whether they are named by URLs that may be asked: `RemoteTars` lists them then."""
        first = self.path if isinstance(self.path, str) else next(iter(self.path), "")
        return first.startswith(tuple(f"{kind}://" for kind in REMOTE))

    def listing(self) -> Listing:
        """Images and answers, in one reading of each tar, several at a time; a tar of every split."""
        if not isinstance(self.path, str) or re.match(r"\w+:", self.path):
            expected = f"a folder of .tar files, or URLs of {', '.join(REMOTE)}"
            raise SourceError(f"{self.path}: expected {expected}, got another URL or a command")
        root = Path(self.path)
        found = look_below(root)
        tars = [file for file in found.others.get("archives", ()) if file.suffix.lower() == ".tar"]
        packed = [file for file in found.others.get("archives", ()) if PACKED.search(file.name)]
        if packed:
            raise SourceError(
                f"{packed[0]}: expected a .tar, whose images can be read in place, got a packed one: unpack it"
            )
        odd = next((tar for tar in tars if not tar.is_file()), None)
        if odd:
            raise SourceError(f"{odd}: expected a file, found a pipe, a device or a link that leads nowhere")
        if not tars:
            raise SourceError(f"{root}: expected .tar files, found none")
        splits = splits_of_tars({str(tar): tar.relative_to(root) for tar in tars})
        with Progress("ingest: reading", sum(tar.stat().st_size for tar in tars) / MB, "MB") as progress:
            contents = dict(zip(tars, self._read(tars, splits, progress), strict=True))
        items = [item for _, inside, _ in contents.values() for item in inside]
        shards = {tar: shard for tar, (shard, _, _) in contents.items()}
        passed = sum((passed for *_, passed in contents.values()), Counter[str]())
        if passed:
            counts = ", ".join(f"{count} {end}" for end, count in sorted(passed.items()))
            log.info("ingest: passed over beside the images in the tars, as no labels were found there: %s", counts)
        return Listing(("label",), items, tars=shards, splits_from=BY_NAME)

    def _read(self, tars: Sequence[Path], splits: Mapping[str, str], progress: Progress) -> Iterator[Contents]:
        """What is in the tars, in their order."""
        read = partial(self._read_one, splits=splits, progress=progress)
        return map_in_order(read, tars, chunk=1, stop=progress.stop)

    def _read_one(self, tar: Path, splits: Mapping[str, str], progress: Progress) -> Contents:
        assert isinstance(self.path, str)
        facts = partial(facts_of, whole=self.look == "decode")
        return read_tar(tar, tar.relative_to(self.path).as_posix(), splits.get(str(tar)), facts, progress)


class ShardsOnCluster(Shards):
    """The same, where a Ray cluster reads the tars: each in a task."""

    ray: str

    def _read(self, tars: Sequence[Path], splits: Mapping[str, str], progress: Progress) -> Iterator[Contents]:
        with closing(map_on_cluster(self.ray, partial(self._read_there, splits=splits), tars)) as contents:
            for shard, items, passed in contents:
                progress.add(len(items), shard.bytes)
                yield shard, items, passed

    def _read_there(self, tar: Path, splits: Mapping[str, str]) -> Contents:
        with Progress(tar.name, None, "MB") as progress:
            return self._read_one(tar, splits, progress)


def splits_of_tars(tars: Mapping[str, Path]) -> dict[str, str]:
    """The split of each tar, by its sub-folders or, where none of these says one, by its name; nothing if none does."""
    names = {}
    for place, tar in tars.items():
        folders = [name for name in tar.parts[:-1] if said(name, place).split]
        names[place] = (folders or [tar.stem])[0]
    return splits_of_names(names, "sub-folders or names", classes=False) or {}


@dataclass(slots=True)
class _Member:
    """A file in a tar, with the facts and the digest of an image or the bytes of a label."""

    name: str
    offset: int
    size: int
    facts: Facts | str = ""
    picture: str = ""
    data: bytes = b""


def read_tar(
    tar: Path, name: str, split: str | None, facts: Callable[[bytes], Facts | str], progress: Progress
) -> Contents:
    """The tar and its images, named below `name`, with the `facts` of their bytes and with their answers.

    The third are the members beside images that say nothing of them, by the ends of their names. Raises SourceError for
    a tar that is spoilt.
    """
    digest = hashlib.sha256()
    samples: dict[str, dict[str, _Member]] = {}
    for info, data in _members(tar, digest, progress):
        place = _place(info.name)
        if place is None or info.isdir():
            continue
        key, extension = place
        parts = samples.setdefault(key, {})
        if not info.isreg() or info.sparse is not None:
            raise SourceError(f"{tar}: {info.name}: expected a plain file, got a link or a sparse file")
        if extension in parts:
            raise SourceError(f"{tar}: {info.name}: expected one member of this key and extension, got two")
        member = parts[extension] = _Member(info.name, info.offset_data, info.size)
        if _end(extension) in LABELS:
            member.data = data
        elif _is_image(extension):
            member.facts, member.picture = facts(data), picture_of(data)
            progress.add(1, 0)
    endings = {_end(extension) for parts in samples.values() for extension in parts}
    if endings and not endings & {*IMAGES}:
        got = first_names(sorted(endings))
        raise SourceError(f"{tar}: expected images ({', '.join(IMAGES)}), got only members that end in {got}")
    items, passed = [], Counter[str]()
    for key, parts in samples.items():
        images = [member for extension, member in parts.items() if _is_image(extension)]
        if len(images) > 1:
            raise SourceError(f"{tar}: {key}: expected one image, got {' and '.join(image.name for image in images)}")
        for image in images:
            label, used = _label(tar, key, parts)
            passed.update(f".{_end(extension)}" for extension in parts if parts[extension] not in (image, *used))
            answer = None if label is None else (label,)
            items.append(
                Item(f"{name}/{key}", split, answer, Span(tar, image.offset, image.size, image.facts, image.picture))
            )
    return Shard(tar.as_posix(), tar.stat().st_size, digest.hexdigest(), len(items)), items, passed


def _place(name: str) -> tuple[str, str] | None:
    """The key of a member's sample and the member's extension, in small letters; None for a name without either."""
    folder, slash, base = name.rpartition("/")
    stem, dot, extension = base.partition(".")
    return (folder + slash + stem, extension.lower()) if stem and dot else None


def _end(extension: str) -> str:
    return extension.rpartition(".")[2]


def _is_image(extension: str) -> bool:
    return _end(extension) in IMAGES


def facts_of(data: bytes, whole: bool) -> Facts | str:
    """An image's facts, or why it cannot be read; with `whole` it is decoded to the end."""
    try:
        return probe(data, whole=whole)
    except BadImage as error:
        return str(error)


def _members(tar: Path, digest: "hashlib._Hash", progress: Progress) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """All members, to the mark at the tar's end, with the bytes of images and labels; others are passed over.

    Every byte of the file is read once, in order, and goes into `digest`. `tarfile` takes a header that is cut off
    or spoilt for the end, so the end is checked here.
    """
    with tar.open("rb", buffering=BUFFER) as file:
        total = os.fstat(file.fileno()).st_size
        done = 0  # bytes that are in the digest
        try:
            with tarfile.open(fileobj=file, mode="r:") as members:
                for member in members:
                    if member.offset_data + member.size > total:
                        raise SourceError(
                            f"{tar}: {member.name}: expected {member.size} bytes from byte {member.offset_data}, "
                            f"got a tar truncated at byte {total}"
                        )
                    data = b""
                    place = _place(member.name)
                    if place and member.isreg() and (_end(place[1]) in LABELS or _is_image(place[1])):
                        for _ in _blocks(file, done, member.offset_data, digest, progress):
                            pass
                        data = file.read(member.size)
                        digest.update(data)
                        done = member.offset_data + len(data)
                        progress.add(0, len(data))
                    yield member, data
                end = members.offset
        except tarfile.TarError as error:
            raise SourceError(f"{tar}: expected a tar, got: {error}") from error
        for _ in _blocks(file, done, end, digest, progress):
            pass
        rest = _blocks(file, end, total, digest, progress)
        mark = next(rest, b"")
        if mark[:BLOCK] != bytes(BLOCK):
            raise SourceError(f"{tar}: expected a member or the tar's end at byte {end}: it is truncated or spoilt")
        if any(mark) or any(any(block) for block in rest):
            raise SourceError(f"{tar}: expected nothing after the tar's end at byte {end}, got more: joined by cat?")


def _blocks(file: BinaryIO, start: int, end: int, digest: "hashlib._Hash", progress: Progress) -> Iterator[bytes]:
    """The bytes of a file from `start` to `end`, which go into the digest."""
    file.seek(start)
    while start < end and (block := file.read(min(BUFFER, end - start))):
        digest.update(block)
        progress.add(0, len(block))
        start += len(block)
        yield block


def _label(tar: Path, key: str, parts: Mapping[str, _Member]) -> tuple[str | None, list[_Member]]:
    """The class that a `cls` or `json` member names, a number or a text, and the members that it is from.

    An ending with more words in it (`v2.cls`, `target.cls`) counts where there is no plain one.
    """
    for end, value_of in (("cls", _text), ("json", _field)):
        members = [parts[end]] if end in parts else [parts[name] for name in parts if _end(name) == end]
        values = {value: member for member in members if (value := value_of(tar, member)) is not None}
        if len(values) > 1:
            both = " and ".join(member.name for member in values.values())
            raise SourceError(f"{tar}: {key}: expected one label, got those of {both}")
        if values or (end == "cls" and members):
            return next(iter(values), None), members
    return None, []


def _text(tar: Path, member: _Member) -> str | None:
    try:
        return member.data.decode().strip() or None
    except ValueError as error:  # bytes that are no UTF-8
        raise SourceError(f"{tar}: {member.name}: expected a label, got: {error}") from error


def _field(tar: Path, member: _Member) -> str | None:
    """The label in a JSON; fields of several names may hold it, also such as hold something else in other sets."""
    try:
        value: Any = json.loads(member.data)
    except ValueError as error:
        raise SourceError(f"{tar}: {member.name}: expected a label, got: {error}") from error
    value = value if isinstance(value, dict) else {"label": member.data}
    plain = {
        name: one for name, one in value.items() if isinstance(one, int | float | str) and not isinstance(one, bool)
    }
    place = place_of("label", [*plain])
    if place is None:
        other = next((value[name] for name in ("label", "cls") if value.get(name) is not None), None)
        if other is not None:
            raise SourceError(f"{tar}: {member.name}: expected a label that is a number or a text, got {other!r}")
        return None
    label = [*plain.values()][place]
    return str(int(label) if isinstance(label, float) and label.is_integer() else label).strip() or None
