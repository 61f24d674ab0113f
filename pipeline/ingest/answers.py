"""Tables of answers, in a folder of images or beside it: which files are such, and what they say of which image."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.labels import level_names
from pipeline.base.errors import ArtifactError, SourceError, first_names
from pipeline.base.tables import Table
from pipeline.ingest.files import ENDS
from pipeline.ingest.lookup import found
from pipeline.ingest.split_names import said

log = logging.getLogger(__name__)

ANSWERS = (
    "answers",
    "labels",
    "metadata",
)  # names of tables, in capitals or not; of two in one folder the first counts
ENDINGS = (".csv", ".tsv")


@dataclass(frozen=True)
class Answers:
    """What a table says: names of levels, and for each of its images an answer and a split."""

    file: Path
    home: Path  # the folder of the images that it is of
    levels: Sequence[str]
    of: Mapping[Path, tuple[str, ...]]
    splits: Mapping[Path, str]  # empty where the table has no column of splits

    @classmethod
    def read(cls, file: Path, images: Collection[Path], home: Path) -> "Answers":
        """The rows of the images below `home`. Raises SourceError, by the path in the table, where they misfit."""
        table = Table.read(file, ("path", "label"))
        texts, split = table.column("path") or [], table.column("split")
        levels, columns = _levels(table)
        place_of = {image.relative_to(home).as_posix(): image for image in images if image.is_relative_to(home)}
        answers: dict[Path, tuple[str, ...]] = {}
        splits: dict[Path, str] = {}
        raw = [row[table.place("path") or 0] for row in table.rows]
        for at, (text, name, *names) in enumerate(zip(texts, found(raw, place_of), *columns, strict=True)):
            if name is None:
                raise SourceError(f"{file}: {text}: expected an image of that path, found none")
            image = place_of[name]
            if answers.setdefault(image, tuple(names)) != tuple(names):
                raise SourceError(f"{file}: {text}: expected one label, got {answers[image][0]!r} and {names[0]!r}")
            if split is not None:
                splits[image] = _split(file, text, split[at])
        return cls(file, home, levels, answers, splits)


def tables_of(root: Path, tables: Collection[Path], images: Collection[Path]) -> list[Answers]:
    """The tables of answers below a folder, one for each folder that has one; else the one beside it, if it fits."""
    homes: dict[Path, list[Path]] = {}
    for file in tables:
        if file.suffix.lower() in ENDINGS and file.stem.lower() in ANSWERS:
            homes.setdefault(file.parent, []).append(file)
    read = [_first_of(files, images, home) for home, files in homes.items()]
    inside = [answers for answers in read if answers]
    if inside:
        return inside
    beside = [
        file
        for file in sorted(root.resolve().parent.iterdir())
        if ENDS.get(file.suffix[1:].lower()) == "tables" and file.stem.lower() in ANSWERS and file.is_file()
    ]
    answers = _first_of(beside, images, root, beside=True)
    return [answers] if answers else []


def _first_of(files: Sequence[Path], images: Collection[Path], home: Path, *, beside: bool = False) -> Answers | None:
    """The first that has answers. One by the name of answers must; another one is passed over with a word."""
    for file in sorted(files, key=lambda file: ANSWERS.index(file.stem.lower())):
        try:
            answers = Answers.read(file, images, home)
            log.info("ingest: %s has answers of %d images", file, len(answers.of))
            return answers
        except (ArtifactError, SourceError) as error:
            if not beside and (file.stem.lower() == ANSWERS[0] or ": expected the columns" not in str(error)):
                raise
            log.info("ingest: passed over a table: %s; a table of answers is called answers.csv", error)
    return None


def _levels(table: Table) -> tuple[list[str], list[list[str]]]:
    """The levels that a table has, finest first, with the cells of each.

    A further column is a coarser level if it is called one, or if it puts several labels together; else it is said
    that it is not used.
    """
    labels = table.column("label") or []
    known = {table.place(what) for what in ("path", "label", "split")}
    levels, columns, unused = ["label"], [labels], list[str]()
    for place, name in enumerate(table.header):
        if place in known or not name:
            continue
        cells = [row[place].strip() for row in table.rows]
        if name.lower() in level_names(len(table.header)) or _puts_together(labels, cells):
            levels.append(name.lower() if name.lower() in level_names(len(table.header)) else name)
            columns.append(cells)
        else:
            unused.append(name)
    if unused:
        log.info("ingest: %s: no use is made of the columns %s", table.file, first_names(unused))
    return levels, columns


def _puts_together(labels: Sequence[str], cells: Sequence[str]) -> bool:
    """Whether the cells are one for each label, and fewer than there are labels."""
    pairs = {(label, cell) for label, cell in zip(labels, cells, strict=True) if label and cell}
    names = {cell for _, cell in pairs}
    return 1 < len(names) < len(pairs) == len({label for label, _ in pairs})


def _split(file: Path, text: str, cell: str) -> str:
    split = said(cell).split
    if split is None:
        raise SourceError(f"{file}: {text}: expected train, val or test in the column of splits, got {cell!r}")
    return split
