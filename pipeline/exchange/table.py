"""CSV: a row for each answer, with columns for the image and the class by any of the usual names.

So write Label Studio ("CSV"), LightlyStudio ("Classification CSV"), spreadsheets, and lists of file_name,category.
A row with a confidence is a model's, and no answer.
"""

from collections.abc import Sequence
from pathlib import Path

from pipeline.base.errors import SourceError
from pipeline.base.files import write_csv
from pipeline.base.tables import Table
from pipeline.exchange.answers import Answer, Asked, Format, Read

FILE = "picks.csv"
PEOPLE = ("annotator", "annotationsource", "by")  # what a column of annotators is called


def place(asked: Asked) -> str:
    return f"pictures/{asked.file}"


def write(folder: Path, asked: Sequence[Asked], classes: Sequence[str]) -> None:
    """Writes `picks.csv`, whose column `label` is to be filled in."""
    header = ("key", "path", "picture", "file", "guess", "guess_confidence", "label")
    rows = (
        (one.key, one.path, one.picture, place(one), one.guess, f"{one.confidence:.3f}" if one.guess else "", "")
        for one in asked
    )
    write_csv(folder / FILE, header, rows)


def read(path: Path) -> Read:
    """Reads a CSV in any form that spreadsheets save, or the folder of an export of ours."""
    table = Table.read(path / FILE if path.is_dir() else path, ("label",))
    blank = [""] * len(table.rows)
    images = [found for what in ("key", "path", "image") if (found := table.column(what)) is not None]
    if not images:
        raise SourceError(f"{table.file}: expected a column key, path or file_name, got {','.join(table.header)}")
    people = next((found for name in PEOPLE if (found := table.column(name)) is not None), blank)
    sure, pictures = table.column("confidence") or blank, table.column("picture") or blank
    result = Read()
    rows = zip(zip(*images, strict=True), table.column("label") or [], people, sure, pictures, strict=True)
    for names, label, by, confidence, picture in rows:
        if label and confidence:
            result.guesses += 1
        elif label:
            result.answers.append(Answer([name for name in names if name], [label], by, picture))
    return result


FORMAT = Format(place, write, read)
