"""What every training method starts from: the images, their index and the labels."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.artifacts.confirmed import FILE, read_confirmed
from pipeline.artifacts.labels import Classes, Labels
from pipeline.artifacts.shards import Index, Manifest
from pipeline.train.match import match
from pipeline.train.targets import Targets


@dataclass(frozen=True)
class Inputs:
    """The training images and the few labels, as `ingest` and `label` wrote them."""

    manifest: Manifest
    index: Index
    targets: Targets
    labels: Path  # the file
    confirmed: frozenset[str]  # images whose labels were confirmed many at once
    files: tuple[Path, ...]  # what was read

    @classmethod
    def read(cls, ingest: Path, labels: Path) -> "Inputs":
        """Reads manifest, index, classes and labels."""
        manifest, index = Manifest.read(ingest / "manifest.json"), Index.read(ingest / "index.parquet", "train")
        classes = Classes.read(ingest / "classes.json")
        targets = match(Labels.read(labels), classes, partial(index.rows_of, where="labels.csv"))
        files = [ingest / "manifest.json", ingest / "index.parquet", labels]
        files += filter(Path.is_file, [labels.with_name(FILE)])
        return cls(manifest, index, targets, labels, read_confirmed(labels.parent), tuple(files))
