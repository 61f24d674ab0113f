"""Tables that people bring: their columns by one of the usual names, in any order."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import SourceError
from pipeline.base.files import read_csv

# What a column is called, the likeliest first: of two that a table has, the earlier one is meant. Capitals, spaces and
# hyphens make no difference. The fields of a JSON that hold a label have the same names.
NAMES = {
    "path": ("path", "file", "filename", "filepath", "image", "imagepath", "imagename", "imagefile", "img", "imageid",
             "id", "filepathabs"),
    "label": ("label", "class", "cls", "category", "target", "classname", "labelname", "categoryname", "labels"),
    "split": ("split", "subset", "partition", "set"),
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Header and rows of a person's CSV."""

    file: Path
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def place(self, what: str) -> int | None:
        """Which column holds `what`; None where none does."""
        return place_of(what, self.header)

    def column(self, what: str) -> list[str] | None:
        """The cells that hold `what`, without spaces around them; None where no column does."""
        place = self.place(what)
        return None if place is None else [row[place].strip() for row in self.rows]

    @classmethod
    def read(cls, file: Path, needed: Sequence[str]) -> "Table":
        """Reads a table. Raises SourceError where it has no column for one of `needed`."""
        table = cls(file, *read_csv(file, ()))
        missing = [what for what in needed if table.place(what) is None]
        if missing:
            names = [f"; {what} may be called {', '.join(NAMES[what][1:4])} too" for what in missing if what in NAMES]
            got = ",".join(table.header) or "nothing"
            raise SourceError(f"{file}: expected the columns {' and '.join(needed)}, got {got}{''.join(names)}")
        return table


def place_of(what: str, names: Sequence[str]) -> int | None:
    """Which of the names means `what`, as it is called in NAMES or by its own name."""
    plain = [re.sub(r"[\W_]", "", name.lower()) for name in names]
    return next((plain.index(name) for name in NAMES.get(what, (what,)) if name in plain), None)
