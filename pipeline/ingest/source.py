"""What a source of images gives: a list of items. They are small, as their pixels stay where they are."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

from pipeline.artifacts.shards import Shard
from pipeline.base.errors import SourceError
from pipeline.base.params import Block
from pipeline.shards.decode import Facts, encode, read_file


@dataclass(frozen=True, slots=True)
class Span:
    """An image that lies in a tar: `size` bytes from `offset` of the file. It is indexed there, never copied."""

    tar: Path
    offset: int
    size: int
    facts: Facts | str  # of the image, or why it cannot be read
    picture: str  # what `picture_of` its bytes gives


@dataclass(frozen=True, slots=True)
class Item:
    """One image. `path` is its own name within the source; `split` is None where the source has none."""

    path: str
    split: str | None  # train, val or test
    answer: tuple[str, ...] | None  # a class name for each level, finest first; None: not known
    image: UInt8[ndarray, "c h w"] | Path | Span

    def read(self) -> bytes:
        """The bytes of a file, of an array as PNG. Raises BadImage for a file that cannot be read."""
        assert not isinstance(self.image, Span)  # it was read when it was listed
        return read_file(self.image) if isinstance(self.image, Path) else encode(self.image)


@dataclass(frozen=True)
class Listing:
    """All items of a source, the names of its levels of classes, and the order of the classes where it has its own.

    `tars` are those that hold the images already, by the path in spans; all items are spans then. `splits_from` says,
    for the log, whose the splits of the items are.
    """

    levels: Sequence[str]
    items: Sequence[Item]
    classes: Mapping[str, Sequence[str]] | None = None
    tars: Mapping[Path, Shard] | None = None
    splits_from: str = "the source's own"


class Source(Block, ABC):
    """A params block `ingest.<name>` that can list its images; raises SourceError where they cannot be used."""

    @abstractmethod
    def listing(self) -> Listing:
        """All images, their splits and answers; reads names and arrays, and no image files but tars."""


def key_of(path: str) -> str:
    """The key of an image: 20 hex digits that say nothing of its class, and sort like a shuffle."""
    return hashlib.blake2b(path.encode(), digest_size=10).hexdigest()


def keyed(items: Iterable[Item]) -> dict[str, Item]:
    """Items by key, sorted by key; refuses two of one key and names that do not fit on a line of a CSV."""
    by_key: dict[str, Item] = {}
    seen: set[tuple[str, ...] | None] = {None}
    for item in items:
        names = (item.path,) if item.answer in seen else (item.path, *(item.answer or ()))
        seen.add(item.answer)
        for name in names:
            if not _fits_on_a_line(name):
                raise SourceError(f"{item.path!r}: expected names of one line in UTF-8, got {name!r}: rename it")
        other = by_key.setdefault(key_of(item.path), item)
        if other is not item:
            raise SourceError(f"{item.path}: expected a key of its own, got that of {other.path}")
    return dict(sorted(by_key.items()))


def _fits_on_a_line(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return len(name.splitlines()) <= 1 and not name.endswith("\n")
