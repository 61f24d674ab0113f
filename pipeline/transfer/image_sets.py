"""The columns of the table: sets of images with their answers, from a run, a folder, tars or a known source."""

import json
import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from pipeline.artifacts.labels import Classes, Labels
from pipeline.artifacts.shards import Index, Manifest, Shard
from pipeline.base import rng
from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.base.params import Params, near
from pipeline.base.records import digest_of
from pipeline.evaluate.metrics import finest
from pipeline.ingest.files import look_below
from pipeline.ingest.run import IngestParams, ingest
from pipeline.ingest.sources import SOURCES, source_of
from pipeline.recipe.run import state

log = logging.getLogger(__name__)
SPLITS = ("train", "test")
KNOWN = tuple(name for name in SOURCES if name not in ("folder", "shards"))  # sources that need no path


def named(option: str, text: str) -> tuple[str, str]:
    """Name and rest of `NAME=REST`; of a path without a name its last part, of anything else itself.

    Raises ParamsError for a name that cannot be part of a file's name.
    """
    name, equals, rest = text.partition("=")
    name, rest = (name, rest) if equals else (Path(text).resolve().name if Path(text).exists() else text, text)
    name = name if equals else re.sub(r"[:/]", "-", name)
    if not re.fullmatch(r"[\w.@-]+", name) or not rest:
        raise ParamsError(f"--{option} {text}: expected NAME=..., a name of letters, digits and .-_@, got {name!r}")
    return name, rest


def refuse_twice(option: str, names: Sequence[str]) -> None:
    """Raises ParamsError for a name that is there twice."""
    for name in names:
        if names.count(name) > 1:
            raise ParamsError(f"--{option}: expected each name once, got {name} twice; give one as NAME=...")


@dataclass(frozen=True)
class ImageSet:
    """Images that have an answer, each in one of both splits. Paths of shards lead from the working directory."""

    name: str
    manifest: Manifest
    index: Index
    answers: Mapping[str, str]

    @classmethod
    def read(cls, option: str, params: Params, out: Path, most: int) -> "ImageSet":
        """Reads what an option names, at most `most` images of a split, which are drawn by chance.

        A folder that no `ingest` has seen is ingested below `out`, once. Raises PipelineError for what is no set of
        images, or has no answers, one class or no test images.
        """
        name, text = named("data", option)
        path, known = Path(text), text if text in KNOWN else ""
        if not known and not path.is_dir():
            raise ParamsError(
                f"--data {option}: expected a run, a folder of images or of tars, or one of {', '.join(KNOWN)}, got "
                f"{text!r}, which is none{near(text, KNOWN)}"
            )
        if known or not (path / "data/ingest/manifest.json").is_file():
            if (path / ".dvc").is_dir():
                raise ArtifactError(f"{path}: expected a run with data/ingest, found none; dvc repro ingest writes it")
            home, folder = Path(), _ingested(name, path, known, params, out)
        else:
            home, folder = path, path / "data/ingest"
        answers = finest(Labels.read(folder / "answers.csv"))
        manifest, index = Manifest.read(folder / "manifest.json"), Index.read(folder / "index.parquet")
        return cls(name, *_part(manifest, index, home, answers, most, params.seed), answers).checked(text)

    def checked(self, where: str) -> "ImageSet":
        """The set itself. Raises ArtifactError where nothing can be measured on it."""
        count = {split: self.manifest.count(split) for split in SPLITS}
        if not self.index.key:
            raise ArtifactError(f"{where}: expected images with labels, in folders of classes or answers.csv, got none")
        if len(self.classes) < 2:
            raise ArtifactError(f"{where}: expected two classes or more, got {self.classes[0]} alone")
        if not count["test"] or not count["train"]:
            raise ArtifactError(f"{where}: expected images with labels to train and to test, got {count}")
        tested = {self.answers[key] for key in self.keys("test")}
        if len(tested) < 2:
            raise ArtifactError(
                f"{where}: expected test images of two classes or more, got those of {min(tested)} alone"
            )
        return self

    @property
    def classes(self) -> list[str]:
        """The names of the classes, sorted."""
        return sorted({self.answers[key] for key in self.index.key})

    def keys(self, split: str) -> list[str]:
        """Of the images of a split."""
        return list(self.index.keys_of(self.index.rows(split)))

    def smallest(self) -> tuple[int, str]:
        """The fewest training images of a class, and the class."""
        of = Counter(self.answers[key] for key in self.keys("train"))
        return min((of[name], name) for name in self.classes)

    def __str__(self) -> str:
        """How many images of what kind."""
        height, width = self.manifest.size
        colours = "grey" if self.manifest.channels == 1 else "colour"
        train, test = (self.manifest.count(split) for split in SPLITS)
        return (
            f"{train:,} training and {test:,} test images, {len(self.classes)} classes, {colours}, {height} x {width}"
        )

    @property
    def digest(self) -> str:
        """Differs between different images, splits and answers."""
        shards = [shard.sha256 for split in SPLITS for shard in self.manifest.splits[split]]
        keys = list(self.index.key)
        return digest_of(keys, list(self.index.split), shards, [self.answers[key] for key in keys])

    def part(self, train: Collection[str], test: Collection[str]) -> "ImageSet":
        """These images alone, by their keys: the first to train, the others to test."""
        splits = {**dict.fromkeys(train, "train"), **dict.fromkeys(test, "test")}
        rows = np.array([row for row, key in enumerate(self.index.key) if key in splits])
        names = [splits[key] for key in self.index.keys_of(rows)]
        manifest, index = _cut(self.manifest, self.index, rows, names)
        return replace(self, manifest=manifest, index=index)

    def write(self, folder: Path, size: tuple[int, int], channels: int) -> None:
        """Writes what `ingest` would, of images that are seen at another size or with other channels.

        Grey images have three equal channels where a network wants colour, and colour becomes grey where it wants one.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.index.write(folder / "index.parquet")
        Labels(("label",), {key: (self.answers[key],) for key in self.index.key}).write(folder / "answers.csv")
        Classes({"label": self.classes}).write(folder / "classes.json")
        replace(self.manifest, size=size, channels=channels).write(folder / "manifest.json")


def _ingested(name: str, path: Path, known: str, params: Params, out: Path) -> Path:
    """The folder that `ingest` writes for a source, with the values of the params, or wrote before."""
    found = None if known else look_below(path)
    kind = known or ("folder" if found and found.images else "shards")
    where = [] if known else [f"ingest.{kind}.path={json.dumps(str(path.resolve()))}"]
    params = params.with_values(f"ingest.source={kind}", *where)
    digest = digest_of(params.lookup("ingest"), params.seed, found and state(found))
    folder = out / "sets" / f"{name}-{digest}"
    if not (folder / "ingest/manifest.json").is_file():
        params = params.with_values(f"ingest.shards_dir={json.dumps(str(folder / 'shards'))}")
        done = ingest(params.stage("ingest", IngestParams, SOURCES), source_of(params), params.seed, folder / "ingest")
        log.info("ingest: %s: %s", name, done)
    return folder / "ingest"


def _part(
    manifest: Manifest, index: Index, home: Path, answers: Mapping[str, str], most: int, seed: int
) -> tuple[Manifest, Index]:
    """Images that have an answer, at most `most` of a split; paths of shards lead from where `home` does."""
    known = np.array([key in answers for key in index.key], bool)
    chosen, names = [], []
    for split in SPLITS:
        rows = index.rows(split)
        rows = rows[known[rows]]
        if len(rows) > most:
            rows = np.sort(rng.stream(seed, "transfer", "images", split).choice(rows, most, replace=False))
        chosen.append(rows)
        names += [split] * len(rows)
    manifest, index = _cut(manifest, index, np.concatenate(chosen), names)

    def from_here(path: str) -> str:
        return path if "://" in path else str(home / path)

    shards = {
        split: [replace(shard, path=from_here(shard.path)) for shard in inside]
        for split, inside in manifest.splits.items()
    }
    paths = [from_here(path) for path in index.shard]
    return replace(manifest, splits=shards), replace(index, shard=paths)


def _cut(manifest: Manifest, index: Index, rows: Int64[ndarray, " m"], splits: Sequence[str]) -> tuple[Manifest, Index]:
    """These rows of the index, in the splits that are given, and the shards that they lie in."""
    order = np.argsort(rows)
    rows, split = rows[order], [splits[i] for i in order.tolist()]
    paths = [index.shard[row] for row in rows.tolist()]
    of = {shard.path: shard for shards in manifest.splits.values() for shard in shards}
    found: dict[str, list[Shard]] = {}
    for name in SPLITS:
        inside = Counter(path for path, other in zip(paths, split, strict=True) if other == name)
        found[name] = [replace(of[path], count=count) for path, count in sorted(inside.items())]
    part = Index(index.keys_of(rows), split, paths, index.offset[rows], index.size[rows])
    return replace(manifest, splits=found), part
