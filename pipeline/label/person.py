"""Labels from a person's CSV, and the template for it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import field_validator

from pipeline.artifacts.labels import Classes, Labels, Sources, level_names
from pipeline.artifacts.shards import Index
from pipeline.artifacts.skipped import MARKED
from pipeline.base.errors import ArtifactError, SourceError
from pipeline.base.files import read_csv, sha256, write_csv
from pipeline.base.params import Block
from pipeline.base.tables import Table
from pipeline.base.typed import here
from pipeline.label.marks import MARK_NAMES
from pipeline.label.pictures import keys_now
from pipeline.label.spelling import one_spelling
from pipeline.label.wanted import Wanted

NUMBER = re.compile(r"\d+([.,]\d+)?(e[+-]?\d+)?", re.IGNORECASE)  # as a spreadsheet shows a key that looks like one
TEMPLATE = "template.csv"  # the name of the table to fill in, beside the person's file
COLUMNS = (
    "rank",
    "key",
    "path",
    "picture",
)  # of the template and of what the page saves, before the levels


class MissingLabels(SourceError):
    """A person has labels to give before the chain can go on: no fault, where they are being asked for."""


class FileParams(Block):
    """The block `label.file`: a CSV with the columns key and label; columns that are no level are ignored."""

    path: str

    @field_validator("path")
    @classmethod
    def _no_template(cls, path: str) -> str:
        if Path(path).name == TEMPLATE:
            raise ValueError(f"a file of another name than {TEMPLATE}, which is written beside it")
        return path


def levels_to_ask(answer_levels: Sequence[str], classes: Classes, depth: int, where: Path) -> list[str]:
    """The levels that a person's labels may have, finest first: those with known classes, in the order of the answers.

    Where only the finest has known classes, there are `depth` levels with the usual names. Raises ArtifactError, naming
    the file, where there are known coarser levels, but too few.
    """
    known = ("label", *classes.names)
    levels = [level for level in dict.fromkeys(("label", *answer_levels, *known)) if level in known]
    if 1 < len(levels) < depth:
        raise ArtifactError(f"{where}: expected {depth} levels for label.coarse_budget, got {', '.join(levels)}")
    return levels if len(levels) >= depth else list(level_names(depth))


def read_written(file: Path, index: Index, classes: Classes, levels: Sequence[str], sources: Sources) -> Labels:
    """What a person's CSV has at these levels, of pictures that are there: labels, marks in their place, or nothing.

    A missing file and a column that is missing from it have nothing. Images that are no picks may be in it, for
    instance of an earlier selection. A name that is like one of `classes` is that class. Raises an error, by key, for
    an image that is not in the `index` of training images, two labels for one image, and what `one_spelling` refuses.
    """
    if not file.is_file():
        return Labels(levels, {})
    table = _table(file)
    keys = keys_by_path(table, sources)
    lost = next((key for key in keys if _is_lost(key, sources)), None)
    if lost is not None:
        raise SourceError(
            f"{file}: key {lost}: expected a training image's key, got a number that a spreadsheet made of one; save "
            "that column as text, or keep the column path beside it"
        )
    labels, pictures = table.column("label") or [], table.column("picture") or [""] * len(keys)
    images = keys_now(file, keys, labels, pictures, index, sources)
    index.rows_of([key for key in images if key is not None], str(file))
    columns = [
        one_spelling(file, level, keys, table.column(level) or [""] * len(keys), classes.names.get(level, ()))
        for level in levels
    ]
    rows: dict[str, list[str]] = {}
    for key, *names in zip(images, *columns, strict=True):
        if key is None:
            continue
        before = rows.setdefault(key, names)
        if before != names:
            both = next(f"{one!r} and {other!r}" for one, other in zip(before, names, strict=True) if one != other)
            raise SourceError(
                f"{file}: key {key}, {sources.path.get(key, 'a picture of a shard')}: expected one label, got {both}; "
                "keep one of the rows"
            )
    return Labels(levels, rows)


def _table(file: Path) -> Table:
    """That of a file. Raises SourceError where it lacks key or label, and says who takes one that goes by path."""
    table = Table.read(file, ())
    has = {what for what in ("key", "label", "path") if table.place(what) is not None}
    if not {"key", "label"} <= has:
        by_path = "; save it elsewhere and give it to python -m stages.import_labels, which goes by path"
        raise SourceError(
            f"{file}: expected the columns key and label, got {','.join(table.header) or 'nothing'}"
            f"{by_path if {'label', 'path'} <= has else ''}"
        )
    return table


def keys_by_path(table: Table, sources: Sources) -> list[str]:
    """The key of each row; where a spreadsheet made a number of it, that of the path beside it, if there is one."""
    keys, paths = table.column("key") or [], table.column("path") or [""] * len(table.rows)
    lost = [at for at, key in enumerate(keys) if _is_lost(key, sources)]
    key_of = {path: key for key, path in sources.path.items()} if lost else {}
    for at in lost:
        keys[at] = key_of.get(paths[at], keys[at])
    return keys


def _is_lost(key: str, sources: Sources) -> bool:
    return key not in sources.path and NUMBER.fullmatch(key) is not None


def offer_template(
    file: Path, ours: str, asked: Sequence[str], sources: Sources, filled: Labels, answers: Labels
) -> str:
    """Writes the table to fill in, with what is `filled` in already; the reason, if it is left as it is.

    `ours` is the digest of the table that was written here last: nobody has touched that one. Another one that holds
    other labels, which are no answers either, is somebody's work; so may be a file that is no table.
    """
    blank = [""] * len(filled.levels)
    if file.exists() and sha256(file) != ours:
        try:
            header, body = read_csv(file, ())
        except ArtifactError:
            header = []
        if "label" not in header:
            return "it is no table with a column label"
        others = 0
        for row in body:
            cells = dict(zip(header, row, strict=True))
            key = cells.get("key", "").strip()
            names = zip(filled.levels, filled.rows.get(key, blank), strict=True)
            known = {"", *answers.rows.get(key, ())}
            others += any(cells.get(level, "").strip() not in (known | {name}) for level, name in names)
        if others:
            return f"{others} {'label of its own is' if others == 1 else 'labels of its own are'} filled in"
    rows = [
        (rank, key, sources.path.get(key, ""), sources.picture.get(key, ""), *filled.rows.get(key, blank))
        for rank, key in enumerate(asked)
    ]
    write_csv(file, (*COLUMNS, *filled.levels), rows)
    return ""


def refuse_missing(
    file: Path, wanted: Wanted, why: Mapping[str, str], each: bool, filled: Labels, reason: str, picks: Path, page: Path
) -> None:
    """Raises MissingLabels, which says where to type the missing labels; `reason` is what `offer_template` gave.

    `why` says of each image without a label why it has none; something must be said of `each`, or of half of them.
    """
    template = file.with_name(TEMPLATE)
    kept = f" (kept as it is: {reason})" if reason else ""
    coarse = sum(level > 0 for level in wanted.levels)
    least = f" (for the last {coarse} at least one in the column {filled.levels[1]})" if coarse else ""
    marked = sum(why.get(key) in MARKED for key in wanted.keys)
    others = f"; `{here().replace}` asks for others in place of the {marked} marked ones" if marked else ""
    audit = f" and of the {len(wanted.audit)} images of the audit" if wanted.audit else ""
    lacking = [key for key, said in why.items() if not (each and said)]
    found = f"got none for {len(lacking)} of them, such as {lacking[0]}" if file.is_file() else "found no file"
    share = "for each" if each else "for half"
    raise MissingLabels(
        f"{file}: expected labels {share} of the {len(wanted.keys)} picks in {picks}{least}{audit}, {found}; "
        f"type them into {page}, or fill in {template}{kept}, and save as {file}; "
        f"{MARK_NAMES} may stand in place of a class{others}"
    )
