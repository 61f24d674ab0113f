"""What a source of images says of itself: a list of items that are small, as their pixels stay where they are."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

from pipeline.artifacts import Shard
from pipeline.data.images import Facts, encode, read_file
from pipeline.params import Block


@dataclass(frozen=True, slots=True)
class Span:
    """An image that lies in a tar: `size` bytes from `offset` of the file. It is indexed there, never copied."""

    tar: Path
    offset: int
    size: int
    seen: Facts | str | None = None  # what it says of itself, or why it cannot be read, where the tar may have left


@dataclass(frozen=True, slots=True)
class Item:
    """One image. `path` is its own name within the source; `split` is None where the source has none."""

    path: str
    split: str | None
    answer: tuple[str, ...] | None  # a class name for each level, finest first; None: not known
    image: UInt8[ndarray, "c h w"] | Path | Span

    def read(self) -> bytes:
        """The image's bytes, an array as PNG. Raises BadImage where there are none to be had."""
        if isinstance(self.image, Span):
            with self.image.tar.open("rb") as file:
                return os.pread(file.fileno(), self.image.size, self.image.offset)
        return read_file(self.image) if isinstance(self.image, Path) else encode(self.image)


@dataclass(frozen=True)
class Listing:
    """All items of a source, the names of its levels of answers, and the order of the classes where it has its own.

    `tars` says of those behind URLs what the manifest will, by the path in spans.
    """

    levels: Sequence[str]
    items: Sequence[Item]
    classes: Mapping[str, Sequence[str]] | None = None
    tars: Mapping[Path, Shard] = field(default_factory=dict)


class Source(Block, ABC):
    """A params block `ingest.<name>` that can list its images; raises SourceError where they cannot be used."""

    @abstractmethod
    def listing(self) -> Listing:
        """All images, their splits and answers; reads names and arrays, no image files."""
