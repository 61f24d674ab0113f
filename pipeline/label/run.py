"""The stage: labels for the picks and, to measure with, for an audit, from the images' own answers or from a person.

The best picks get a label at the finest level, the last ones a coarse label only, as many as `coarse_budget` says.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator

from pipeline.artifacts.audit import audit_keys
from pipeline.artifacts.class_names import alike
from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.rounds import joined, next_number
from pipeline.artifacts.shards import Index, Manifest
from pipeline.artifacts.skipped import Skipped, write_missing
from pipeline.base.errors import ParamsError, first_names
from pipeline.base.files import whole_folder
from pipeline.base.machine import Reading
from pipeline.base.params import Block
from pipeline.label.around import LookAround
from pipeline.label.audit import audit_labels, log_audit
from pipeline.label.earlier import of_rounds
from pipeline.label.effort import log_effort, read_effort
from pipeline.label.marks import MARKS, log_missing, marked, why_without, without_marks
from pipeline.label.page import Album, asking, shown
from pipeline.label.person import TEMPLATE, FileParams, levels_to_ask, offer_template, read_written, refuse_missing
from pipeline.label.tally import log_classes, log_new
from pipeline.label.wanted import Wanted, look_up, with_answers

log = logging.getLogger(__name__)


class LabelParams(Block):
    """The block `label`, less the sub-blocks of the sources."""

    source: str
    classes: tuple[str, ...]  # that the page offers beside those that are known
    coarse_budget: int | tuple[int, ...]  # picks, the last ones, of the next coarser level, or of each coarser level

    audit: int = Field(ge=0)  # random images beside the picks, whose labels are measured on alone

    @field_validator("coarse_budget")
    @classmethod
    def _counts(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if min((value,) if isinstance(value, int) else (0, *value)) < 0:
            raise ValueError("a number of picks or a list of such, none below 0")
        return value

    @field_validator("classes")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len({alike(name) for name in names} - {"", *MARKS}) < len(names):
            raise ValueError("names of classes, of which no two are alike")
        return names

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
    look_around: LookAround,
) -> Labels:
    """Writes the page, which picks have no label, labels.csv with those of finished rounds, and audit.csv.

    Gives the labels of the picks. All labels of a person's file count, but for those of the audit. Raises SourceError
    where these are fewer than half of the picks (of the audit), and the file has no row for each of the others, or none
    for picks that came in place of skipped ones; then the page asks for them.
    """
    picks = Selection.read(select / "picks.csv").keys
    coarse = params.levels(len(picks))
    manifest, index = Manifest.read(ingest / "manifest.json"), Index.read(ingest / "index.parquet", "train")
    sources, classes = Sources.read(ingest / "sources.csv"), Classes.read(ingest / "classes.json")
    index.rows_of(picks, str(select / "picks.csv"), f"a training image of {ingest}")
    classes = Classes({**classes.names, "label": [*dict.fromkeys((*classes.names.get("label", ()), *params.classes))]})
    answers = Labels.read(ingest / "answers.csv")
    levels = answers.levels
    if isinstance(source, FileParams):
        levels = levels_to_ask(levels, classes, max(coarse, default=0) + 1, ingest / "classes.json")
    earlier, known = of_rounds(rounds, index, sources, levels, classes)
    wanted = Wanted(picks, coarse, audit_keys(index.key, {*picks, *earlier.rows}, params.audit))
    others: set[str] = set()  # that a person labelled, and that are no picks
    if isinstance(source, FileParams):
        file = Path(source.path)
        written = read_written(file, index, known, levels, sources)
        labels = with_answers(without_marks(written), written, answers, wanted, index.key)
        checked, labels = audit_labels(wanted.audit, labels), labels.less(wanted.audit).completed(file)
        spent = read_effort(file)
        others = {key for key in labels.rows if key not in earlier.rows} - {*picks}
    else:
        written, labels = Labels(levels, {}), look_up(wanted, answers, ingest / "answers.csv")
        wanted = Wanted(picks, coarse, [key for key in wanted.audit if any(answers.rows.get(key, ())[:1])])
        checked = audit_labels(wanted.audit, answers)
    counted = labels.less({*labels.rows} - others - {*picks})
    everything = joined(earlier, counted).completed(out / "labels.csv")
    why = why_without(wanted.without_label(labels), written, labels)
    not_audited = why_without([key for key in wanted.audit if not checked.rows[key][0]], written, labels)
    goes_on = enough(why, len(picks), len(others)) and any(names[0] for names in everything.rows.values())
    if isinstance(source, FileParams):
        replaced = max(Skipped.read(rounds).round, default=-1) >= next_number(rounds)
        goes_on = goes_on and enough(not_audited, len(wanted.audit), 0) and (all(why.values()) or not replaced)
    of_the_audit = {key: [*names, *[""] * (len(levels) - 1)] for key, names in checked.rows.items() if names[0]}
    said = {key: names for key, names in written.rows.items() if any(names)}
    filled = Labels(levels, {**of_the_audit, **said, **labels.rows})
    album = Album(manifest, index, sources, reading)
    if isinstance(source, FileParams):
        never = {*wanted.audit, *marked(written), *Skipped.read(rounds).keys}
        seen = look_around(index, picks, everything, never)
        page = asking(wanted, album, known, filled, spent, seen)
    else:
        page = shown(wanted, album, filled)
    with whole_folder(out, spare=("labels.csv", "audit.csv")) as part:
        (part / "page.html").write_text(page, encoding="utf-8")
        write_missing(part / "missing.csv", why)
        if goes_on:
            everything.write(part / "labels.csv")
            checked.write(part / "audit.csv")
    if isinstance(source, FileParams):
        keys = [key for key, _ in wanted.asked]
        reason = offer_template(file.with_name(TEMPLATE), keys, sources, filled, answers)
        if not goes_on:
            missing = {**why, **not_audited}
            refuse_missing(file, wanted, missing, filled, reason, select / "picks.csv", out / "page.html")
        if others:
            log.info("label: %d labels of images that are no picks count too", len(others))
        if why:
            log_missing(why, len(picks), file.name, sources)
        log_classes(everything, classes, checked)
        log_effort(spent, labels.rows)
    if wanted.audit:
        log_audit(len(wanted.audit), not_audited)
    labelled = wanted.labels_in(everything)
    log_new(everything, classes)
    alone = _classes_without_parent(labelled) if wanted.depth > 1 else []
    if alone:
        names = first_names(alone)
        log.warning("no row says which %s is above %s: write it once for each class", labelled.levels[1], names)
    return labelled


def enough(why: Mapping[str, str], num_images: int, others: int) -> bool:
    """Whether to go on without the labels of the images in `why`.

    There are labels for half as many images, with `others` that were not asked for, or of each something is said.
    """
    labelled = num_images - len(why) + others
    return labelled >= num_images / 2 or (labelled > 0 and all(why.values()))


def _classes_without_parent(labels: Labels) -> list[str]:
    """The finest classes of which no row says what is above them."""
    with_parent = {names[0] for names in labels.rows.values() if names[0] and names[1]}
    return sorted({names[0] for names in labels.rows.values() if names[0]} - with_parent)
