"""The stage: labels for the picks and for nothing else, from the images' own answers or from a person.

The best picks get a label at the finest level, the last ones a coarse label only, as many as `coarse_budget` says.
"""

import difflib
import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from pydantic import field_validator

from pipeline.artifacts.labels import Classes, Labels, Sources, level_names
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.rounds import joined, read_rounds, round_files
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import ParamsError, first_names
from pipeline.base.files import whole_folder
from pipeline.base.machine import Reading
from pipeline.base.params import Block
from pipeline.label.page import render
from pipeline.label.person import FileParams, levels_to_ask, read_labels, refuse_missing
from pipeline.label.pictures import bound
from pipeline.label.wanted import Wanted, look_up

SHOWN = 30  # classes in the log, at most
SLIP = 0.8  # how alike two names are of which one may be a slip: "food" and "foodx" 0.89

log = logging.getLogger(__name__)


class LabelParams(Block):
    """The block `label`, less the sub-blocks of the sources."""

    source: str
    coarse_budget: int | tuple[int, ...]  # picks, the last ones, of the next coarser level, or of each coarser level

    @field_validator("coarse_budget")
    @classmethod
    def _counts(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if min((value,) if isinstance(value, int) else (0, *value)) < 0:
            raise ValueError("a number of picks or a list of such, none below 0")
        return value

    def levels(self, num_picks: int) -> list[int]:
        """The finest level of each pick's label, best pick first; 0 is the finest of all.

        Raises ParamsError where no pick would get a label at the finest level.
        """
        counts = (self.coarse_budget,) if isinstance(self.coarse_budget, int) else self.coarse_budget
        if num_picks and sum(counts) >= num_picks:
            raise ParamsError(
                f"label.coarse_budget: expected less than the {num_picks} picks, for some need a label of the finest "
                f"level, got {sum(counts)}"
            )
        coarse = [level for level, count in enumerate(counts, start=1) for _ in range(count)]
        return [0] * (num_picks - len(coarse)) + coarse


class AnswersParams(Block):
    """The block `label.answers`."""


LABELLERS: Mapping[str, type[AnswersParams] | type[FileParams]] = {"answers": AnswersParams, "file": FileParams}


def label(
    ingest: Path,
    select: Path,
    rounds: Path,
    out: Path,
    params: LabelParams,
    source: AnswersParams | FileParams,
    reading: Reading,
) -> Labels:
    """Writes the page and, when each pick has a label, labels.csv with those of finished rounds; gives the picks' own.

    Raises SourceError where labels are missing from a person's file; then the page asks for them.
    """
    picks = Selection.read(select / "picks.csv").keys
    wanted = Wanted(picks, params.levels(len(picks)))
    manifest, index = Manifest.read(ingest / "manifest.json"), Index.read(ingest / "index.parquet", "train")
    sources, classes = Sources.read(ingest / "sources.csv"), Classes.read(ingest / "classes.json")
    index.rows_of(picks, str(select / "picks.csv"), f"a training image of {ingest}")
    answers = Labels.read(ingest / "answers.csv")
    if isinstance(source, FileParams):
        file = Path(source.path)
        levels = levels_to_ask(answers.levels, classes, wanted.depth, ingest / "classes.json")
        labels = read_labels(file, index, classes, levels, sources) if file.is_file() else Labels(levels, {})
    else:
        labels = look_up(wanted, answers, ingest / "answers.csv")
    missing = wanted.without_label(labels)
    with whole_folder(out, spare=("labels.csv", "audit.csv")) as part:
        page = render(wanted, manifest, index, sources, classes, labels, reading)
        (part / "page.html").write_text(page, encoding="utf-8")
        if not missing:
            everything = _with_rounds(wanted.labels_in(labels), _of_rounds(rounds, index, sources))
            everything.completed(out / "labels.csv").write(part / "labels.csv")
            Labels(["label"], {}).write(part / "audit.csv")
    if missing and isinstance(source, FileParams):
        refuse_missing(file, wanted, missing, labels, sources, select / "picks.csv", out / "page.html")
    labelled = wanted.labels_in(everything)
    if isinstance(source, FileParams):
        log_classes(Counter(names[0] for names in everything.rows.values() if names[0]))
    alone = _classes_without_parent(labelled) if wanted.depth > 1 else []
    if alone:
        names = first_names(alone)
        log.warning("no row says which %s is above %s: write it once for each class", labelled.levels[1], names)
    return labelled


def log_classes(count: Mapping[str, int]) -> None:
    """Logs how many labels each class has, the frequent ones first, and which class with a single one may be a slip."""
    shown = sorted(count, key=lambda name: (-count[name], name))[:SHOWN]
    more = f" and {len(count) - SHOWN} more classes" if len(count) > SHOWN else ""
    log.info("label: %s%s", ", ".join(f"{name} {count[name]}" for name in shown), more)
    for name in sorted(name for name in count if count[name] == 1):
        near = difflib.get_close_matches(name, [other for other in count if other != name], 1, SLIP)
        if near:
            log.warning("label: the class %r has one label and is near %r: is it a slip?", name, near[0])


def _of_rounds(folder: Path, index: Index, sources: Sources) -> Labels:
    """The labels of finished rounds, of pictures that are there."""
    read_rounds(folder)  # refuses an image of two rounds
    tables = []
    for file in round_files(folder):
        table = Labels.read(file)
        keys, names = [*table.rows], [*table.rows.values()]
        images = bound(file, keys, [" / ".join(own) for own in names], [""] * len(keys), index, sources)
        rows = {key: own for key, own in zip(images, names, strict=True) if key is not None}
        tables.append(Labels(table.levels, rows))
    return joined(*tables)


def _with_rounds(labels: Labels, rounds: Labels) -> Labels:
    """The labels with those of finished rounds, at the levels of both.

    A round's file may have other columns; a level that only a round has is known by its usual name.
    """
    usual = [level for level in level_names(len(rounds.levels)) if level in rounds.levels]
    return joined(rounds, labels, levels=list(dict.fromkeys((*labels.levels, *usual))))


def _classes_without_parent(labels: Labels) -> list[str]:
    """The finest classes of which no row says what is above them."""
    with_parent = {names[0] for names in labels.rows.values() if names[0] and names[1]}
    return sorted({names[0] for names in labels.rows.values() if names[0]} - with_parent)
