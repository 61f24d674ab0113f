"""Labels go into a person's file, beside those that are there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.class_names import alike, means_no_label
from pipeline.artifacts.labels import Sources
from pipeline.base.errors import SourceError, first_names
from pipeline.base.files import write_csv
from pipeline.base.tables import Table
from pipeline.label.label_file import ABOUT
from pipeline.label.person import keys_by_path
from pipeline.label.pictures import meant, places

COLUMNS = ("key", "path", "picture", "label")


@dataclass
class Merged:
    """How many labels were new, there already, and put in place of others."""

    new: int = 0
    same: int = 0
    replaced: int = 0


def merge(file: Path, labels: Mapping[str, tuple[str, str]], sources: Sources, *, replace: bool) -> Merged:
    """Writes labels, each with its picture, into the file; all its other rows and columns stay.

    A row is of the image that has its picture now, as the stage `label` reads it. Where the picture is gone, the label
    of the one that came in its place takes the row. Raises SourceError, by name, where an image has another label
    there, unless these are to be replaced.
    """
    header, body, place = list(COLUMNS), list[list[str]](), dict(zip(COLUMNS, range(4), strict=True))
    images = list[tuple[str, bool]]()
    if file.is_file():
        table = Table.read(file, ("key", "label"))
        header, body = list(table.header), [list(row) for row in table.rows]
        found = {name: table.place(name) for name in COLUMNS}
        header += [name for name, at in found.items() if at is None]
        images = _images(table, labels, sources)
        place = {name: header.index(name) if at is None else at for name, at in found.items()}
    spent = [header.index(name) for name in ABOUT if name in header]
    result, others, there = Merged(), list[str](), set[str]()
    own = {key for key, gone in images if not gone}
    for row, (key, gone) in zip(body, images, strict=True):
        row += [""] * (len(header) - len(row))
        before = row[place["label"]].strip()
        if key not in labels or (gone and key in own):
            continue
        name, picture = labels[key]
        first, same = key not in there, alike(before) == alike(name) and not gone
        there.add(key)
        blank = gone or means_no_label(before)
        result.new += first and blank
        result.same += first and same and not blank
        if not same:
            result.replaced += first and not blank
            if not blank:
                others.append(f"{sources.path.get(key, key)} ({before!r}, now {name!r})")
            row[place["key"]], row[place["label"]], row[place["picture"]] = key, name, picture
            for at in spent:
                row[at] = ""
    if others and not replace:
        raise SourceError(
            f"{file}: expected the labels that are there, got {len(others)} others, for {first_names(others)}; "
            "--replace takes the new ones"
        )
    for key in sorted({*labels} - there):
        name, picture = labels[key]
        row = [""] * len(header)
        for column, cell in zip(COLUMNS, (key, sources.path.get(key, ""), picture, name), strict=True):
            row[place[column]] = cell
        body.append(row)
        result.new += 1
    write_csv(file, header, body)
    return result


def _images(table: Table, labels: Mapping[str, tuple[str, str]], sources: Sources) -> list[tuple[str, bool]]:
    """Of each row the key of its image, and whether its picture is gone, and is not that of the label of the key."""
    keys, given = keys_by_path(table, sources), table.column("label") or []
    pictures = meant(table.file, keys, given, table.column("picture") or [""] * len(keys), sources)
    rows = zip(keys, pictures, places(keys, pictures, [*sources.path], sources), strict=True)
    return [(now or key, now is None and labels.get(key, ("", picture))[1] != picture) for key, picture, now in rows]
