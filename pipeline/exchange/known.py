"""What is known of the set before an export or an import: its images, their labels so far, and the classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.audit import read_audit
from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.shards import Index
from pipeline.artifacts.skipped import Skipped
from pipeline.label.earlier import of_rounds
from pipeline.label.effort import Effort, read_effort
from pipeline.label.marks import MARKS
from pipeline.label.person import read_written


@dataclass(frozen=True)
class Known:
    """The training images; the labels of finished rounds and those in a person's file; and the names of classes.

    Classes are those of the answers, of params, of rounds and of the file, in this order.
    """

    index: Index
    sources: Sources
    earlier: Labels
    written: Labels
    classes: Sequence[str]
    spent: Mapping[str, Effort]  # on the labels of the file
    audited: Sequence[str]  # the images of the audit so far
    skipped: Sequence[str]  # that are not picked again

    @classmethod
    def read(cls, ingest: Path, rounds: Path, labels: Path, named: Sequence[str]) -> "Known":
        """Reads the files, those that are there of `rounds` and `labels`; `named` are the classes in params."""
        index, sources = Index.read(ingest / "index.parquet", "train"), Sources.read(ingest / "sources.csv")
        classes = Classes({"label": Classes.read(ingest / "classes.json").then("label", named)})
        earlier, classes = of_rounds(rounds, index, sources, ["label"], classes)
        written = read_written(labels, index, classes, ["label"], sources)
        audited, skipped = read_audit(rounds), Skipped.read(rounds).keys
        own = {name for names in written.rows.values() for name in names} - {*MARKS}
        return cls(index, sources, earlier, written, classes.union("label", own), read_effort(labels), audited, skipped)
