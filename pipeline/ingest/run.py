"""From a source to shards, an index of the images in them, and the answers apart from both.

Everything goes by keys, and in their order, which is as good as shuffled; the order of the listing changes nothing.
"""

import logging
import math
import os
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator
from tqdm import tqdm

from pipeline.artifacts.attributes import Attributes
from pipeline.artifacts.class_names import counted
from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.shards import Index, Manifest, Shard
from pipeline.base.errors import ArtifactError, SourceError, first_names
from pipeline.base.files import whole_folder
from pipeline.base.params import Block
from pipeline.base.scratch import alone
from pipeline.ingest.classes import class_names, in_one_form, lost_classes, with_hierarchy
from pipeline.ingest.copies import say_copies
from pipeline.ingest.pack import SPECK, Packed, Packer, Size, home_of, move, plan, work_folder
from pipeline.ingest.source import Item, Listing, Source, Span, keyed
from pipeline.ingest.split import SPLITS, groups_and_costs, splits_of, used_splits
from pipeline.ingest.tars import Row, index_tars, placed
from pipeline.parallel.threads import map_in_order
from pipeline.shards.decode import BadImage, Facts, probe

log = logging.getLogger(__name__)

AT_ONCE = 64  # images, of which a network must be able to see as many
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
    test_fraction: float = Field(ge=0, lt=1)
    attributes: str
    hierarchy: str

    @field_validator("size", mode="before")
    @classmethod
    def _whole_or_auto(cls, size: object) -> object:
        if size != "auto" and not (type(size) is int and size >= 1):
            raise ValueError("a whole number of at least 1, or auto")
        return size


class Ingested(NamedTuple):
    """The manifest, and what this run itself has read or written of it: the rest was there when it began."""

    manifest: Manifest
    images: int
    bytes: int

    def __str__(self) -> str:
        manifest = self.manifest
        counts = ", ".join(f"{manifest.count(split)} to {split}" for split in manifest.splits)
        mode, (height, width) = "grey" if manifest.channels == 1 else "rgb", manifest.size
        return f"{manifest.source}: {counts}; {mode}, {height} x {width}; {len(manifest.bad)} left out"


def ingest(params: IngestParams, source: Source, seed: int, out: Path, ray: str = "") -> Ingested:
    """Writes shards below `params.shards_dir` (unless the images lie in tars already) and the folder `out`, both whole.

    `ray` is the address of a Ray cluster that writes the shards, or "": this machine does.
    Raises SourceError where the source cannot be used, ArtifactError where the files cannot be written, and
    TrainingError where another ingest is at work on `out`.
    """
    _refuse_too_large(params.size)
    with alone(out.parent / "scratch", "ingest"):
        listing = with_hierarchy(used_splits(in_one_form(source.listing())), params.hierarchy)
        listed = keyed(listing.items)
        groups, costs = groups_and_costs(listed, params.attributes)
        splits = splits_of(listed, groups, params.test_fraction, seed)
        bad = _BadImages(params.max_bad)
        _refuse_empty(splits.values(), bad)
        channels = 1 if _grey(params.mode, listed) else 3
        with _disk_errors_in_one_line(out), whole_folder(out) as part, ExitStack() as stack:
            if listing.tars is not None:
                made = _indexed(listed, splits, listing.tars, bad)
            else:
                work = stack.enter_context(work_folder(Path(params.shards_dir), params.source, out))
                packer = Packer(work, channels, params.max_side, measured=params.size == "auto", ray=ray)
                made = _packed(packer, params, listed, splits, bad)
            shards = {split: [shard for shard, _ in inside] for split, inside in made.parts.items()}
            _refuse_empty([split for split in SPLITS for shard in shards[split] if shard.count], bad)
            size = _choose(params.size, made.sizes)
            manifest = Manifest(params.source, channels, size, shards, sorted(bad.rows, key=lambda row: row["path"]))
            manifest.write(part / "manifest.json")
            rows = sorted(row for inside in made.parts.values() for _, own in inside for row in own)
            _write_rows(part, rows, listing, listed, made.pictures)
            say_copies(listed, {row.key: row.split for row in rows}, made.pictures)
            if made.specks:
                names = first_names(sorted(made.specks), 3)
                log.warning("ingest: images smaller than %d pixels: %d (%s)", SPECK, len(made.specks), names)
            _write_attributes(part, [row.key for row in rows], groups, costs)
            if made.tars:
                move(made.tars, made.home)
            _say_classes([item.answer[0] for key, *_ in rows if (item := listed[key]).answer], len(rows))
    return Ingested(manifest, made.images, made.bytes)


class _BadImages:
    """The images that are left out, each with its reason; more than `allowed` are a SourceError."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.rows: list[dict[str, str]] = []

    def add(self, path: str, reason: str) -> None:
        log.info("ingest: left out %s: %s", path, reason)
        self.rows.append({"path": path, "reason": reason})
        if len(self.rows) > self.allowed:
            first = self.rows[0]
            raise SourceError(
                f"{first['path']}: expected an image, but {first['reason']}; "
                f"{len(self.rows)} such images so far, and ingest.max_bad allows {self.allowed}"
            )


@dataclass(frozen=True)
class _Made:
    """Shards and the sizes of their images; how many images and bytes this run itself has written or read."""

    parts: Parts
    pictures: Mapping[str, str]  # by key
    sizes: set[Size]
    specks: Sequence[str]  # paths
    images: int
    bytes: int
    tars: Sequence[Path] = ()  # that are to go to `home`, where `parts` has them already
    home: Path = Path()


def _indexed(
    listed: Mapping[str, Item], splits: Mapping[str, str], tars: Mapping[Path, Shard], bad: _BadImages
) -> _Made:
    spans: dict[str, Span] = {}
    sizes, specks = set(), []
    for key, item in listed.items():
        assert isinstance(item.image, Span)
        if isinstance(item.image.facts, Facts):
            spans[key] = item.image
            sizes.add(item.image.facts.size)
            if max(item.image.facts.size) < SPECK:
                specks.append(item.path)
        else:
            bad.add(item.path, item.image.facts)
    pictures = {key: span.picture for key, span in spans.items()}
    num_bytes = sum(tar.bytes for tar in tars.values())
    return _Made(index_tars(spans, splits, tars), pictures, sizes, specks, len(listed), num_bytes)


def _packed(
    packer: Packer, params: IngestParams, listed: Mapping[str, Item], splits: Mapping[str, str], bad: _BadImages
) -> _Made:
    packed: list[Packed] = []
    with closing(packer.pack(plan(listed, splits, params.shard_images))) as shards:  # no thread is left behind
        for one in shards:
            for row in one.bad:
                bad.add(**row)
            packed.append(one)
    old = sum(one.was_there for one in packed)
    if old:
        log.info("ingest: %d of %d shards were there, from a run that was interrupted", old, len(packed))
    with_images = [one for one in packed if one.rows]
    home = home_of((one.shard for one in with_images), Path(params.shards_dir), params.source)
    parts: dict[str, list[tuple[Shard, list[Row]]]] = {split: [] for split in SPLITS}
    for one in with_images:
        parts[one.rows[0].split].append(placed((one.shard, one.rows), home))
    new = [one for one in packed if not one.was_there]
    return _Made(
        parts,
        {key: picture for one in packed for key, picture in one.pictures.items()},
        {size for one in packed for size in one.sizes},
        [path for one in packed for path in one.specks],
        sum(len(one.rows) + len(one.bad) for one in new),
        sum(one.shard.bytes for one in new),
        [packer.folder / one.shard.path for one in with_images],
        home,
    )


def _grey(mode: str, listed: Mapping[str, Item]) -> bool:
    """Whether images become grey: `auto` looks at their headers until it meets a colour."""
    if mode != "auto":
        return mode == "grey"
    kinds = map_in_order(_is_grey, listed.values())
    return all(tqdm(kinds, total=len(listed), desc="ingest: looking for colours", disable=None, unit=" images"))


def _is_grey(item: Item) -> bool:
    try:
        if isinstance(item.image, np.ndarray):
            return len(item.image) == 1
        facts = item.image.facts if isinstance(item.image, Span) else probe(item.read(), whole=False)
    except BadImage:  # it is left out when its turn comes
        return True
    return not isinstance(facts, Facts) or facts.grey


def _choose(size: int | Literal["auto"], sizes: set[Size]) -> Size:
    """(height, width) of the images that networks see."""
    if size != "auto":
        return size, size
    height, width = next(iter(sizes))
    if len(sizes) > 1 or height != width:
        log.info("ingest: the images are not squares of one size, so networks see %d x %d (ingest.size)", SIDE, SIDE)
        return SIDE, SIDE
    return height, width


def _write_rows(
    folder: Path, rows: Sequence[Row], listing: Listing, listed: Mapping[str, Item], pictures: Mapping[str, str]
) -> None:
    """Writes the index, and apart from it what is known of its images."""
    key, split, shard, offset, length = zip(*rows, strict=True)
    Index(key, split, shard, np.array(offset, np.int64), np.array(length, np.int64)).write(folder / "index.parquet")
    items = {name: listed[name] for name in key}
    Sources({name: item.path for name, item in items.items()}, pictures).write(folder / "sources.csv")
    answers = {name: item.answer for name, item in items.items() if item.answer}
    Labels(listing.levels, answers).write(folder / "answers.csv")
    Classes(class_names(listing, list(answers.values()))).write(folder / "classes.json")
    for name in lost_classes(listed, items):
        log.info("ingest: class %s has lost all its images, as none of them can be read", name)


def _say_classes(answers: Sequence[str], num_images: int) -> None:
    """Logs how many images have an answer, and of each class how many."""
    if answers:
        log.info("ingest: %d of %d images have an answer: %s", len(answers), num_images, counted(answers))


def _write_attributes(
    folder: Path, keys: Sequence[str], groups: Mapping[str, Hashable], costs: Mapping[str, float]
) -> None:
    names = [group if isinstance(group := groups[key], str) else "" for key in keys]
    cost = np.array([costs[key] for key in keys], np.float64) if costs else None
    Attributes(keys, names, cost).write(folder / "attributes.parquet")


def _refuse_too_large(size: int | Literal["auto"]) -> None:
    """Of images of a size that is given, a small batch in float32 has to fit in this machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    most = math.isqrt(memory // (AT_ONCE * 3 * 4))
    if size != "auto" and size > most:
        why = f"{AT_ONCE} images must fit in {memory // 10**9} GB"
        raise SourceError(f"ingest.size: expected at most {most} pixels, as {why}, got {size}")


def _refuse_empty(splits: Iterable[str], bad: _BadImages) -> None:
    """What is left, each with its split, must hold images to train."""
    count = Counter(splits)
    if not count["train"]:
        got = f"{count['test']} to test and {len(bad.rows)} that cannot be read"
        raise SourceError(f"ingest: expected images to train, got {got}; see ingest.test_fraction")


@contextmanager
def _disk_errors_in_one_line(out: Path) -> Iterator[None]:
    """A full disk and its like as one line; reading a source has its own refusals."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else " ".join(str(error).split())
        raise ArtifactError(
            f"{out}: expected to write it and its shards, got: {reason}; nothing is left of them"
        ) from error
