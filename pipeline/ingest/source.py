"""What a source of images says of itself: a list of items that are small, as their pixels stay where they are."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

from pipeline.artifacts.shards import Shard
from pipeline.base.params import Block
from pipeline.shards.decode import Facts, encode, read_file


@dataclass(frozen=True, slots=True)
class Span:
    """An image that lies in a tar: `size` bytes from `offset` of the file. It is indexed there, never copied."""

    tar: Path
    offset: int
    size: int
    seen: Facts | str  # what it says of itself, or why it cannot be read


@dataclass(frozen=True, slots=True)
class Item:
    """One image. `path` is its own name within the source; `split` is None where the source has none."""

    path: str
    split: str | None
    answer: tuple[str, ...] | None  # a class name for each level, finest first; None: not known
    image: UInt8[ndarray, "c h w"] | Path | Span

    def read(self) -> bytes:
        """The bytes of a file, of an array as PNG. Raises BadImage where there are none to be had."""
        assert not isinstance(self.image, Span)  # it was read when it was listed
        return read_file(self.image) if isinstance(self.image, Path) else encode(self.image)


@dataclass(frozen=True)
class Listing:
    """All items of a source, the names of its levels of answers, and the order of the classes where it has its own.

    `tars` are those in which the images lie already, by the path in spans, as the manifest will have them; then all of
    these are spans.
    """

    levels: Sequence[str]
    items: Sequence[Item]
    classes: Mapping[str, Sequence[str]] | None = None
    tars: Mapping[Path, Shard] | None = None


class Source(Block, ABC):
    """A params block `ingest.<name>` that can list its images; raises SourceError where they cannot be used."""

    @abstractmethod
    def listing(self) -> Listing:
        """All images, their splits and answers; reads names and arrays, and no image files but tars."""
