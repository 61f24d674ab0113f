"""Labels for the picks and for nothing else: looked up among known answers, or read from the CSV of a person.

The best picks get a label at the finest level, the last ones a coarse label only, as many as `coarse_budget` says.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

import jinja2
from pydantic import field_validator

from pipeline.artifacts.labels import Classes, Labels, Sources, level_names
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import ArtifactError, ParamsError, SourceError
from pipeline.base.files import read_csv, write_csv
from pipeline.base.params import Block
from pipeline.shards.pictures import pictures
from pipeline.shards.remote.download import Reading

SHOWN = 10  # keys or names in a message, at most
SIDE = 224  # pixels of a picture's longer side, at most
TEMPLATE = "template.csv"  # the name of the table to fill in, beside the person's file
COLUMNS = ("rank", "key", "path")  # of the template and of the file that the page saves, before those of the levels


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

    def own_levels(self, num_picks: int) -> list[int]:
        """The finest level that each pick's label is of, best pick first; 0 is the finest of all.

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
    """Labels are looked up in the answers that came with the images."""


class FileParams(Block):
    """Labels come from a person's CSV with the columns key and label, and others that are ignored."""

    path: str

    @field_validator("path")
    @classmethod
    def _no_template(cls, path: str) -> str:
        if Path(path).name == TEMPLATE:
            raise ValueError(f"a file of another name than {TEMPLATE}, which is written beside it")
        return path


LABELLERS: Mapping[str, type[Block]] = {"answers": AnswersParams, "file": FileParams}


def wanted_levels(ordered: Sequence[str], classes: Classes, own: Sequence[int], where: Path) -> list[str]:
    """The levels that a person's labels may have, finest first: those with known classes, in the order of the answers.

    Where none but the finest is known, as many coarser ones as picks are labelled at. Raises ArtifactError, naming the
    file, where there are known coarser levels, but too few.
    """
    depth = max(own, default=0) + 1
    names = [
        level for level in dict.fromkeys(("label", *ordered, *classes.names)) if level in ("label", *classes.names)
    ]
    if 1 < len(names) < depth:
        raise ArtifactError(f"{where}: expected {depth} levels for label.coarse_budget, got {', '.join(names)}")
    return names if len(names) >= depth else list(level_names(depth))


def look_up(picks: Sequence[str], own: Sequence[int], answers: Labels, where: Path) -> Labels:
    """The answers of the picks, each from its `own` level on. Raises ArtifactError for a pick without one, by key."""
    if max(own, default=0) >= len(answers.levels):
        raise ArtifactError(
            f"{where}: expected {max(own) + 1} levels for label.coarse_budget, got {', '.join(answers.levels)}"
        )
    cut_off = cut(of_picks(answers, picks), picks, own)
    without = without_label(picks, own, cut_off)
    if without:
        hint = "where there are no answers, set label.source=file"
        raise ArtifactError(f"{where}: expected an answer for every pick, got none for {some(without)}; {hint}")
    return cut_off


def without_label(picks: Sequence[str], own: Sequence[int], labels: Labels) -> list[str]:
    """The picks that have no label at their own level or a finer one."""
    return [key for key, level in zip(picks, own, strict=True) if not any(labels.rows.get(key, ())[: level + 1])]


def cut(labels: Labels, picks: Sequence[str], own: Sequence[int]) -> Labels:
    """The labels of the picks without what is finer than each one's own level."""
    level = dict(zip(picks, own, strict=True))
    rows = {key: [*[""] * level[key], *names[level[key] :]] for key, names in labels.rows.items()}
    return Labels(labels.levels, rows)


def of_picks(labels: Labels, picks: Sequence[str]) -> Labels:
    """Those labels that are a pick's."""
    return Labels(labels.levels, {key: labels.rows[key] for key in picks if key in labels.rows})


def read_labels(file: Path, known: Collection[str], classes: Classes, levels: Sequence[str] = ("label",)) -> Labels:
    """The labels in a person's CSV at these levels; a coarser one may be missing from the file.

    A row without any label counts for none. A coarser class that stands beside a class in one row holds for all rows of
    that class. Images that are no picks may have a label: they may be of an earlier selection. Raises SourceError, by
    key, for a key that is not among the `known` of training images, two labels for one image, a name of two lines, one
    that `classes`, where it has names, has not, and a class that stands below two coarser ones.
    """
    try:
        header, body = read_csv(file, ())
    except ArtifactError as error:
        raise SourceError(str(error)) from error
    if not {"key", "label"} <= set(header):
        raise SourceError(f"{file}: expected the columns key and label, got {','.join(header) or 'nothing'}")
    known = set(known)
    rows: dict[str, list[str]] = {}
    for row in body:
        cells = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
        key, names = cells["key"], [cells.get(level, "") for level in levels]
        if key not in known:
            raise SourceError(f"{file}: key {key}: expected a training image's key, got one that no training image has")
        for level, name in zip(levels, names, strict=True):
            if len(name.splitlines()) > 1:
                raise SourceError(f"{file}: key {key}: expected a {level} of one line, got {name!r}")
            expected = classes.names.get(level, ())
            if name and expected and name not in expected:
                raise SourceError(f"{file}: key {key}: expected a {level} among {some(expected)}, got {name!r}")
        before = rows.setdefault(key, names)
        if before != names:
            raise SourceError(f"{file}: key {key}: expected one label, got {_differing(before, names)}")
    try:
        return Labels(levels, {key: names for key, names in rows.items() if any(names)}).completed(file)
    except ArtifactError as error:
        raise SourceError(str(error)) from error


def offer_template(file: Path, picks: Sequence[str], sources: Sources, labels: Labels) -> int:
    """Writes the table to fill in, with the `labels` that there are, unless one lies there that holds others.

    Gives the number of those others. A file that cannot be read as a table may be somebody's work too, and is kept: -1.
    """
    if file.exists():
        try:
            header, body = read_csv(file, ())
        except ArtifactError:
            return -1
        if "label" not in header:
            return -1
        cells = [dict(zip(header, row, strict=True)) for row in body]
        blank = [""] * len(labels.levels)
        known = [
            dict(zip(labels.levels, labels.rows.get(row.get("key", "").strip(), blank), strict=True)) for row in cells
        ]
        others = sum(
            any(row.get(level, "").strip() not in ("", names[level]) for level in labels.levels)
            for row, names in zip(cells, known, strict=True)
        )
        if others:
            return others
    blank = [""] * len(labels.levels)
    rows = [(rank, key, sources.path.get(key, ""), *labels.rows.get(key, blank)) for rank, key in enumerate(picks)]
    write_csv(file, (*COLUMNS, *labels.levels), rows)
    return 0


def render(
    picks: Sequence[str],
    own: Sequence[int],
    manifest: Manifest,
    index: Index,
    sources: Sources,
    classes: Classes,
    labels: Labels,
    reading: Reading | None = None,
) -> str:
    """A page that needs no other file: every pick with its picture and its label; fields, where one has none yet.

    Where some picks are labelled at a coarser level only, the others have a field for that level too.
    """
    mode: Literal["shown", "asked"] = "asked" if without_label(picks, own, labels) else "shown"
    shown = pictures(manifest, index, picks, SIDE, reading)
    asked = labels.levels[: max(own, default=0) + 1]
    cards = [
        {
            "rank": rank,
            "key": key,
            "path": sources.path.get(key, ""),
            "picture": shown[key],
            # Under this name the browser keeps what was typed: it must not be another data set's image of that key.
            "store": f"{key}-{hashlib.sha256(shown[key].uri.encode()).hexdigest()[:16]}",
            "label": " / ".join(name for name in labels.rows.get(key, ()) if name),
            "fields": [
                {"level": level, "value": value, "needed": at == own[rank]}
                for at, (level, value) in enumerate(zip(asked, labels.rows.get(key, [""] * len(asked)), strict=False))
                if at >= own[rank]
            ],
        }
        for rank, key in enumerate(picks)
    ]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    names = {level: list(classes.names.get(level, ())) for level in asked}
    columns = (*COLUMNS, *asked)
    return template.render(cards=cards, mode=mode, names=names, columns=columns, source=manifest.source) + "\n"


def orphans(labels: Labels) -> list[str]:
    """The finest classes of which no row says what is above them."""
    above = {names[0] for names in labels.rows.values() if names[0] and names[1]}
    return sorted({names[0] for names in labels.rows.values() if names[0]} - above)


def some(names: Sequence[str]) -> str:
    """The first names and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _differing(before: Sequence[str], after: Sequence[str]) -> str:
    return next(f"{one!r} and {other!r}" for one, other in zip(before, after, strict=True) if one != other)
