"""A person's file of labels that grows label by label, while a page is open."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.class_names import alike
from pipeline.artifacts.labels import Sources
from pipeline.base.errors import SourceError
from pipeline.base.files import write_csv
from pipeline.base.tables import Table
from pipeline.label.effort import NOT
from pipeline.label.person import COLUMNS, keys_by_path
from pipeline.label.pictures import meant, places

ABOUT = ("how", "seconds", NOT)  # how a label was given, how long that took, and a class that it is not
LONGEST = 200  # letters of a class name


@dataclass(frozen=True)
class LabelFile:
    """The CSV at `path`, with a row for each image that has something said of it.

    It is read again before each change, so another hand may change it too, and it is replaced whole: whatever stops
    the process leaves the file before a change or after it.
    """

    path: Path
    levels: Sequence[str]  # finest first
    sources: Sources  # of the training images
    asked: Sequence[str]  # their keys, in the order of the page

    def rows(self) -> dict[str, dict[str, str]]:
        """What each image has at the levels, and how that was given, by key.

        It is nothing, but there, of one of which the page took a label back; the empty rows of a template are not here,
        nor those of a picture that is another now.
        """
        rows = {key: row for key, row in self._read()[0].items() if _is_said(row, (*self.levels, "seconds", NOT))}
        return {key: {name: row.get(name, "") for name in (*self.levels, *ABOUT)} for key, row in rows.items()}

    def change(self, changes: object) -> tuple[int, dict[str, str]]:
        """Writes what was said of some images; how many have something said of them, and by key what is refused, why.

        Each change is a mapping with `key`, names at some of the levels ("" takes one back), `how` and `seconds`. What
        is refused keeps no other change from being written. What is no list of these is a SourceError, and nothing is
        written.
        """
        if not isinstance(changes, list):
            raise SourceError(f"rows: expected a list, got {type(changes).__name__}")
        checked, refused = [], {}
        for change in changes:
            key = change.get("key") if isinstance(change, dict) else None
            if not isinstance(key, str):
                raise SourceError(f"rows: expected a key in each, got {str(change)[:LONGEST]}")
            try:
                checked.append((key, self._cells(key, change)))
            except SourceError as error:
                refused[key[:LONGEST]] = str(error)
        rows, gone = self._read()
        path, picture = self.sources.path, self.sources.picture
        for key, cells in checked:
            # The label is of the picture that is there now; the rows of others keep what was noted for them.
            rows[key] = {**rows.get(key, {}), "picture": picture.get(key, ""), **cells}
        rank = {key: str(at) for at, key in enumerate(self.asked)}
        changed = {key for key, _ in checked}
        both = [*((key, row) for key, row in gone if key not in changed), *rows.items()]
        others = dict.fromkeys(name for _, row in both for name in row)
        header = list(dict.fromkeys([*COLUMNS, *self.levels, *ABOUT, *others]))
        lines = []
        for key, row in sorted(both, key=lambda pair: int(rank.get(pair[0], len(rank)))):
            row = {**row, "rank": rank.get(key, ""), "key": key, "path": path.get(key) or row.get("path", "")}
            lines.append([row.get(name, "") for name in header])
        write_csv(self.path, header, lines)
        return sum(_is_said(row, self.levels) for _, row in both), refused

    def _read(self) -> tuple[dict[str, dict[str, str]], list[tuple[str, dict[str, str]]]]:
        """The rows by the key that their picture has now; and those of pictures that are not there any more."""
        if not self.path.exists():
            return {}, []
        table = Table.read(self.path, ("key", "label"))
        keys, paths = keys_by_path(table, self.sources), table.column("path") or [""] * len(table.rows)
        # A column of another name that may hold paths stays as it is.
        own = {table.place(name): name for name in ("key", *self.levels, "rank", "picture", *ABOUT)}
        header = [own.get(at, "path" if name.lower() == "path" else name) for at, name in enumerate(table.header)]
        rows: dict[str, dict[str, str]] = {}
        gone: list[tuple[str, dict[str, str]]] = []
        labels, said = table.column("label") or [], table.column("picture") or [""] * len(keys)
        pictures = meant(self.path, keys, labels, said, self.sources)
        now = places(keys, pictures, [*self.sources.path], self.sources)
        for key, picture, place, path, cells in zip(keys, pictures, now, paths, table.rows, strict=True):
            row = {**dict(zip(header, cells, strict=True)), "path": path}
            row.update({level: row.get(level, "").strip() for level in self.levels})
            if place is None:
                gone.append((key, row))
                continue
            if place != key:
                row["picture"] = picture  # that of a spreadsheet's row was noted elsewhere, under the old key
            before = rows.setdefault(place, row)
            differ = [name for name in self.levels if alike(before[name]) != alike(row[name])]
            # Two keys may have become one number, of which only the paths tell that they were two.
            differ += ["path"] if key not in self.sources.path and before["path"] != path else []
            for name in differ[:1]:
                both = f"{before[name]!r} and {row[name]!r}"
                raise SourceError(f"{self.path}: key {key}: expected one {name}, got {both}")
        return rows, gone

    def _cells(self, key: str, change: Mapping[str, Any]) -> Mapping[str, str]:
        if key not in self.sources.path:
            raise SourceError("it is no training image")
        cells = {}
        for name, value in change.items():
            if name in self.levels or name in ("how", NOT):
                if not isinstance(value, str) or len(value) > LONGEST:
                    raise SourceError(f"{name}: expected a text of at most {LONGEST} letters")
                cells[name] = value
            elif name == "seconds":
                if type(value) not in (int, float) or not 0 <= value < math.inf:
                    raise SourceError(f"seconds: expected a number of at least 0, got {str(value)[:20]}")
                cells[name] = f"{value:.1f}"
            elif name != "key":
                raise SourceError(f"expected {', '.join((*self.levels, *ABOUT))}, got {name[:LONGEST]}")
        return cells


def _is_said(row: Mapping[str, str], names: Sequence[str]) -> bool:
    return any(row.get(name) for name in names)
