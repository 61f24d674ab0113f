"""From a source to shards, an index of the images in them, and the answers apart from both.

Everything goes by keys, and in their order, which is as good as shuffled; the order of the listing changes nothing.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from pipeline.artifacts import Attributes, Classes, Index, Labels, Manifest, Shard, Sources
from pipeline.data.images import BadImage, Facts, encode, fit_within, normalise, probe
from pipeline.errors import ArtifactError, SourceError
from pipeline.files import whole_folder
from pipeline.params import Block
from pipeline.sources.bad import Bad, each
from pipeline.sources.names import class_names, keyed, lost_classes
from pipeline.sources.source import Item, Listing, Source, Span
from pipeline.sources.split import costs_of, groups_of, splits_of
from pipeline.sources.tars import Row, index_tars, placed, write_tars

log = logging.getLogger(__name__)

SPLITS = ("train", "test")
SIDE = 64  # pixels, of the squares that networks see where the images' own sizes differ

Parts = Mapping[str, Sequence[tuple[Shard, list[Row]]]]  # for each split its shards, with their rows of the index


class IngestParams(Block):
    """The block `ingest` of params.yaml, less the sources' own blocks."""

    source: str
    shards_dir: str
    shard_images: int = Field(ge=1)
    mode: Literal["auto", "grey", "rgb"]
    size: int | Literal["auto"]
    max_side: int = Field(ge=1)
    max_bad: int = Field(ge=0)
    test_fraction: float = Field(gt=0, lt=1)
    attributes: str

    @field_validator("size", mode="before")
    @classmethod
    def _whole_or_auto(cls, size: object) -> object:
        if size != "auto" and not (type(size) is int and size >= 1):
            raise ValueError("a whole number of at least 1, or auto")
        return size


def ingest(params: IngestParams, source: Source, seed: int, out: Path) -> Manifest:
    """Writes shards below `params.shards_dir` (unless the images lie in tars already) and the folder `out`, both whole.

    Raises SourceError where the source cannot be used, and ArtifactError where the files cannot be written.
    """
    listing = source.listing()
    listed = keyed(listing.items)
    groups, costs = groups_of(listed, params.attributes), costs_of(listed, params.attributes)
    in_place = all(isinstance(item.image, Span) for item in listed.values())
    bad = Bad(params.max_bad)
    facts = dict(each(lambda item: _facts(item, in_place), listed, bad, "ingest: reading"))
    items = {key: listed[key] for key in facts}
    splits = splits_of(items, groups, params.test_fraction, seed)
    _refuse_empty([list(splits.values()).count(split) for split in SPLITS], bad)
    channels, size = _choose(params, list(facts.values()), in_place)
    work = Path(params.shards_dir) / f".{params.source}-{_digest(params, source, seed)}.part"
    with _writing(out), whole_folder(out) as part, nullcontext(work) if in_place else _emptied(work) as tars:
        if in_place:
            parts: Parts = index_tars(items, splits, listing.tars)
        else:
            parts = {split: [] for split in SPLITS}
            for split in SPLITS:
                own = {key: item for key, item in items.items() if splits[key] == split}
                packed = each(lambda item: _pack(item, channels, params.max_side), own, bad, f"ingest: {split}")
                images = ((key, *data) for key, data in packed)
                parts[split] = list(write_tars(images, tars, split, params.shard_images))
        _refuse_empty([sum(shard.count for shard, _ in parts[split]) for split in SPLITS], bad)
        home = Path(params.shards_dir) / f"{params.source}-{_content(parts)}"
        with nullcontext() if in_place else _moved(tars, home):
            if not in_place:
                parts = {split: [placed(one, home) for one in own] for split, own in parts.items()}
            shards = {split: [shard for shard, _ in own] for split, own in parts.items()}
            manifest = Manifest(params.source, channels, size, shards, sorted(bad.rows, key=lambda row: row["path"]))
            rows = sorted(row for own in parts.values() for _, some in own for row in some)
            manifest.write(part / "manifest.json")
            _write_rows(part, rows, listing, listed)
            _write_attributes(part, [row[0] for row in rows], groups, costs)
    return manifest


def _facts(item: Item, in_place: bool) -> Facts:
    if isinstance(item.image, np.ndarray):
        channels, height, width = item.image.shape
        return Facts(channels == 1, (height, width))
    if isinstance(item.image, Span) and item.image.seen is not None:
        if isinstance(item.image.seen, str):
            raise BadImage(item.image.seen)
        return item.image.seen
    return probe(item.read(), whole=in_place)  # what is not in a tar yet is decoded when it is packed


def _pack(item: Item, channels: int, max_side: int) -> tuple[bytes, str]:
    if isinstance(item.image, np.ndarray) and len(item.image) == channels and max(item.image.shape) <= max_side:
        return encode(item.image), "png"
    return normalise(item.read(), channels, max_side)


def _choose(params: IngestParams, facts: Sequence[Facts], in_place: bool) -> tuple[int, tuple[int, int]]:
    """Channels and (height, width) of the images that networks see."""
    grey = params.mode == "grey" or (params.mode == "auto" and all(fact.grey for fact in facts))
    if params.size != "auto":
        return 1 if grey else 3, (params.size, params.size)
    sizes = {fact.size if in_place else fit_within(fact.size, params.max_side) for fact in facts}
    height, width = sizes.pop()
    if sizes or height != width:
        log.info("ingest: the images are not squares of one size, so networks see %d x %d (ingest.size)", SIDE, SIDE)
        height = width = SIDE
    return 1 if grey else 3, (height, width)


def _write_rows(folder: Path, rows: Sequence[Row], listing: Listing, listed: Mapping[str, Item]) -> None:
    """Writes the index, and apart from it what is known of its images."""
    key, split, shard, offset, length = zip(*rows, strict=True)
    Index(key, split, shard, np.array(offset, np.int64), np.array(length, np.int64)).write(folder / "index.parquet")
    items = {name: listed[name] for name in key}
    Sources({name: item.path for name, item in items.items()}).write(folder / "sources.csv")
    answers = {name: item.answer for name, item in items.items() if item.answer}
    Labels(listing.levels, answers).write(folder / "answers.csv")
    Classes(class_names(listing, list(answers.values()))).write(folder / "classes.json")
    for name in lost_classes(listed, items):
        log.info("ingest: class %s has lost all its images, as none of them can be read", name)


def _write_attributes(
    folder: Path, keys: Sequence[str], groups: Mapping[str, Hashable], costs: Mapping[str, float]
) -> None:
    names = [group if isinstance(group := groups[key], str) else "" for key in keys]
    cost = np.array([costs[key] for key in keys], np.float64) if costs else None
    Attributes(keys, names, cost).write(folder / "attributes.parquet")


def _refuse_empty(counts: Sequence[int], bad: Bad) -> None:
    if not all(counts):
        got = ", ".join(f"{count} to {split}" for count, split in zip(counts, SPLITS, strict=True))
        raise SourceError(
            f"ingest: expected images to train and to test, got {got} and {len(bad.rows)} that cannot be read; "
            "see ingest.test_fraction"
        )


def _digest(params: IngestParams, source: Source, seed: int) -> str:
    """8 hex digits, so that two runs at once with other parameters do not share the folder they work in."""
    text = f"{params.model_dump_json()}{source.model_dump_json()}{seed}"
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _content(parts: Parts) -> str:
    """8 hex digits of what the shards hold, so that a folder of shards is never replaced by one of other content."""
    digests = "".join(f"{shard.path} {shard.sha256}\n" for own in parts.values() for shard, _ in own)
    return hashlib.blake2b(digests.encode(), digest_size=4).hexdigest()


@contextmanager
def _emptied(work: Path) -> Iterator[Path]:
    """An empty folder, removed at the end; so is one that a killed run left."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _moved(tars: Path, home: Path) -> Iterator[None]:
    """Moves all tars to their own folder, which appears as a whole, and only if the block ends well."""
    with whole_folder(home) as part:
        for tar in tars.iterdir():
            tar.rename(part / tar.name)
        yield


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """A full disk and its like as one line; reading a source has its own refusals."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else " ".join(str(error).split())
        raise ArtifactError(
            f"{out}: expected to write it and its shards, got: {reason}; nothing is left of them"
        ) from error
