"""The stage: labels for the picks and, to measure with, for an audit, from the images' own answers or from a person.

The best picks get a label at the finest level, the last ones a coarse label only, as many as `coarse_budget` says.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator

from pipeline.artifacts.audit import audit_keys, read_audit, write_audit
from pipeline.artifacts.class_names import alike
from pipeline.artifacts.confirmed import FILE, write_confirmed
from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.rounds import Latest, next_number
from pipeline.artifacts.shards import Index, Manifest
from pipeline.artifacts.skipped import Skipped, write_missing
from pipeline.base.errors import ParamsError, first_names
from pipeline.base.files import sha256, whole_folder
from pipeline.base.machine import Reading
from pipeline.base.params import Block
from pipeline.label.around import LookAround, log_unlike
from pipeline.label.audit import log_audit
from pipeline.label.earlier import of_rounds
from pipeline.label.effort import CONFIRMED, LED, Effort, log_effort, read_effort, read_not
from pipeline.label.got import Got
from pipeline.label.marks import MARKS, log_missing, log_still
from pipeline.label.page import Album, asking, shown
from pipeline.label.person import TEMPLATE, FileParams, levels_to_ask, offer_template, refuse_missing
from pipeline.label.tally import log_classes, log_new
from pipeline.label.wanted import Wanted

log = logging.getLogger(__name__)
OURS = f".{TEMPLATE}.sha256"  # of the template as it was written last


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

    Gives the labels of the picks. All labels of a person's file count, but for those of the audit, and before those of
    finished rounds. Raises MissingLabels where these are fewer than half of the picks (of the audit), and the file has
    no row for each of the others, or none for picks that came in place of skipped ones; then the page asks for them.
    """
    picks = Selection.read(select / "picks.csv").keys
    levels_of_picks = params.levels(len(picks))
    manifest, index = Manifest.read(ingest / "manifest.json"), Index.read(ingest / "index.parquet", "train")
    sources, classes = Sources.read(ingest / "sources.csv"), Classes.read(ingest / "classes.json")
    answers, album = Labels.read(ingest / "answers.csv"), Album(manifest, index, sources, reading)
    index.rows_of(picks, str(select / "picks.csv"), f"a training image of {ingest}")
    classes = Classes({**classes.names, "label": classes.then("label", params.classes)})
    levels = answers.levels
    if isinstance(source, FileParams):
        levels = levels_to_ask(levels, classes, max(levels_of_picks, default=0) + 1, ingest / "classes.json")
    earlier, known = of_rounds(rounds, index, sources, levels, classes)
    spent = read_effort(Path(source.path)) if isinstance(source, FileParams) else {}
    led = {key for key, effort in spent.items() if effort.how in LED}
    taken, audited = {*picks, *earlier.rows, *led}, read_audit(rounds)
    wanted = Wanted(picks, levels_of_picks, audit_keys(index.key, taken, params.audit, audited))
    confirmed = {key for key, effort in spent.items() if effort.how == CONFIRMED} - {*picks}
    if isinstance(source, FileParams):
        got = Got.of_person(Path(source.path), wanted, answers, earlier, index, known, levels, sources, confirmed)
    else:
        got = Got.of_answers(wanted, answers, ingest / "answers.csv")
    over = got.over(earlier)
    everything = over.labels.completed(out / "labels.csv")
    filled, skipped = got.filled(levels), Skipped.read(rounds)
    replaced = max(skipped.round, default=-1) >= next_number(rounds)
    still = max(got.still(of_each=replaced), int(not any(names[0] for names in everything.rows.values())))
    goes_on = not still and not got.audit_still
    if isinstance(source, FileParams):
        unticked = read_not(Path(source.path))
        never = {*wanted.audit, *got.marked, *skipped.keys, *({*unticked} - {*picks})}
        around = look_around(index, picks, everything, never, confirmed)
        page = asking(wanted, album, known, filled, spent, unticked, around, earlier)
        log_unlike(around.guesses, out / "page.html")
    else:
        page = shown(got.wanted, album, filled)
    ours = (out / OURS).read_text() if (out / OURS).is_file() else ""
    with whole_folder(out, spare=("labels.csv", "audit.csv", FILE)) as part:
        (part / "page.html").write_text(page, encoding="utf-8")
        write_missing(part / "missing.csv", got.why)
        if goes_on:
            everything.write(part / "labels.csv")
            got.checked.write(part / "audit.csv")
            write_confirmed(part, confirmed & {*everything.rows})
    if isinstance(source, FileParams):
        if any(names[0] for names in got.checked.rows.values()):
            write_audit(rounds, {*audited, *wanted.audit})
        # Whoever saves the table in place of the file keeps what the file says of earlier rounds.
        file, keys = Path(source.path), [*(key for key, _ in wanted.asked), *sorted(over.corrected | over.taken_back)]
        template = file.with_name(TEMPLATE)
        reason = offer_template(template, ours, keys, sources, filled, answers)
        (out / OURS).write_text(ours if reason else sha256(template))
        if not goes_on:
            log_still(still, got.audit_still)
            missing = {**got.why, **got.not_audited}
            refuse_missing(
                file,
                wanted,
                missing,
                replaced and not all(missing.values()),
                filled,
                reason,
                select / "picks.csv",
                out / "page.html",
            )
        _log_person(got, over, spent, file, sources)
        log_classes(everything, classes, got.checked)
    if got.wanted.audit:
        log_audit(len(got.wanted.audit), got.not_audited)
    log_new(everything, classes)
    labelled = got.wanted.labels_in(everything)
    _warn_of_parents(labelled, wanted.depth)
    return labelled


def _log_person(got: Got, over: Latest, spent: Mapping[str, Effort], file: Path, sources: Sources) -> None:
    """Logs what a person's file has and lacks."""
    for keys, what in ((over.corrected, "corrected"), (over.taken_back, "taken back")):
        if keys:
            log.info("label: %d of the labels of earlier rounds %s by %s", len(keys), what, file.name)
    if got.others:
        log.info("label: %d labels of images that are no picks count too", len(got.others))
    if got.why:
        log_missing(got.why, len(got.wanted.keys), file.name, sources)
    log_effort(spent, got.labels.rows)


def _warn_of_parents(labels: Labels, depth: int) -> None:
    """Warns of the finest classes of which no row says what is above them, where coarser labels are asked for."""
    alone = _classes_without_parent(labels) if depth > 1 else []
    if alone:
        names = first_names(alone)
        log.warning("no row says which %s is above %s: write it once for each class", labels.levels[1], names)


def _classes_without_parent(labels: Labels) -> list[str]:
    """The finest classes of which no row says what is above them."""
    with_parent = {names[0] for names in labels.rows.values() if names[0] and names[1]}
    return sorted({names[0] for names in labels.rows.values() if names[0]} - with_parent)
