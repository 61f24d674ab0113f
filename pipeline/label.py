"""Labels for the picks and for nothing else: looked up among known answers, or read from the CSV of a person."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

import jinja2
from pydantic import field_validator

from pipeline.artifacts import Classes, Index, Labels, Manifest, Sources
from pipeline.data.pictures import pictures
from pipeline.errors import ArtifactError, SourceError
from pipeline.files import read_csv, write_csv
from pipeline.params import Block

SHOWN = 10  # keys or names in a message, at most
SIDE = 224  # pixels of a picture's longer side, at most
TEMPLATE = "template.csv"  # the name of the table to fill in, beside the person's file
COLUMNS = ("rank", "key", "path", "label")  # of the template, and of the file that the page saves


class LabelParams(Block):
    """The block `label`, less the sub-blocks of the sources."""

    source: str


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


def look_up(picks: Sequence[str], answers: Labels, where: Path) -> Labels:
    """The answers of the picks. Raises ArtifactError for a pick without one, by key."""
    without = [key for key in picks if key not in answers.rows or not answers.rows[key][0]]
    if without:
        hint = "where there are no answers, set label.source=file"
        raise ArtifactError(f"{where}: expected an answer for every pick, got none for {_some(without)}; {hint}")
    return of_picks(answers, picks)


def of_picks(labels: Labels, picks: Sequence[str]) -> Labels:
    """Those labels that are a pick's."""
    return Labels(labels.levels, {key: labels.rows[key] for key in picks if key in labels.rows})


def read_labels(file: Path, known: Collection[str], classes: Classes) -> Labels:
    """The labels in a person's CSV, with the coarser levels that `classes` names and the file has.

    A row without a label counts for none. Images that are no picks may have one: they may be of an earlier selection.
    Raises SourceError, by key, for a key that is not among the `known` of training images, two labels for one image, a
    name of two lines, and one that `classes`, where it has names, has not.
    """
    try:
        header, body = read_csv(file, ())
    except ArtifactError as error:
        raise SourceError(str(error)) from error
    if not {"key", "label"} <= set(header):
        raise SourceError(f"{file}: expected the columns key and label, got {','.join(header) or 'nothing'}")
    levels = ["label", *(level for level in classes.names if level in header and level not in ("key", "label"))]
    known = set(known)
    rows: dict[str, list[str]] = {}
    for row in body:
        cells = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
        key, names = cells["key"], [cells[level] for level in levels]
        if key not in known:
            raise SourceError(f"{file}: key {key}: expected a training image's key, got one that no training image has")
        for level, name in zip(levels, names, strict=True):
            if len(name.splitlines()) > 1:
                raise SourceError(f"{file}: key {key}: expected a {level} of one line, got {name!r}")
            expected = classes.names.get(level, ())
            if name and expected and name not in expected:
                raise SourceError(f"{file}: key {key}: expected a {level} among {_some(expected)}, got {name!r}")
        before = rows.setdefault(key, names)
        if before != names:
            raise SourceError(f"{file}: key {key}: expected one label, got {_differing(before, names)}")
    return Labels(levels, {key: names for key, names in rows.items() if names[0]})


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
        names = [(labels.rows.get(row.get("key", "").strip(), [""])[0], row["label"].strip()) for row in cells]
        others = sum(bool(name) and name != known for known, name in names)
        if others:
            return others
    blank = [""] * len(labels.levels)
    rows = [(rank, key, sources.path.get(key, ""), *labels.rows.get(key, blank)) for rank, key in enumerate(picks)]
    write_csv(file, (*COLUMNS[:-1], *labels.levels), rows)
    return 0


def render(
    picks: Sequence[str], manifest: Manifest, index: Index, sources: Sources, classes: Classes, labels: Labels
) -> str:
    """A page that needs no other file: every pick with its picture and its label; fields, where one has none yet."""
    mode: Literal["shown", "asked"] = "shown" if all(key in labels.rows for key in picks) else "asked"
    end = None if mode == "shown" else 1  # a field is for the finest level
    shown = pictures(manifest, index, picks, SIDE)
    cards = [
        {
            "rank": rank,
            "key": key,
            "path": sources.path.get(key, ""),
            "picture": shown[key],
            # Under this name the browser keeps what was typed: it must not be another data set's image of that key.
            "store": f"{key}-{hashlib.sha256(shown[key].uri.encode()).hexdigest()[:16]}",
            "label": " / ".join(name for name in labels.rows.get(key, ())[:end] if name),
        }
        for rank, key in enumerate(picks)
    ]
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    names = list(classes.names.get("label", ()))
    return template.render(cards=cards, mode=mode, names=names, columns=COLUMNS, source=manifest.source) + "\n"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _differing(before: Sequence[str], after: Sequence[str]) -> str:
    return next(f"{one!r} and {other!r}" for one, other in zip(before, after, strict=True) if one != other)
