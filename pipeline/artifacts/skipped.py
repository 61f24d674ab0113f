"""`missing.csv`: the picks without a label, and why; `skipped.csv`: those of them that are not picked again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import ArtifactError
from pipeline.base.files import check_once, read_csv, write_csv

# Why a person gives no label: can't tell the class; it is none of the classes; a useless picture.
SKIPPED, NO_CLASS, NOT_USABLE = MARKED = ("skipped", "of no class", "not usable")
FILE = "skipped.csv"  # beside the finished rounds


def write_missing(file: Path, why: Mapping[str, str]) -> None:
    """Writes `key,why`, in the order of the picks."""
    write_csv(file, ("key", "why"), why.items())


def read_missing(file: Path) -> dict[str, str]:
    """Why each pick without a label has none."""
    return dict(read_csv(file, ("key", "why"))[1])


@dataclass(frozen=True)
class Skipped:
    """`skipped.csv`: images that a person could not label, in the order in which others were asked for.

    Those of one request, of a round, are replaced together.
    """

    keys: Sequence[str]
    why: Sequence[str]
    round: Sequence[int]
    request: Sequence[int]  # from 0, over all rounds

    def __post_init__(self) -> None:
        check_once(self.keys, FILE)

    def and_(self, why: Mapping[str, str], number: int) -> "Skipped":
        """The same with those of another request, in round `number`; an image that is there already stays as it is."""
        there = {*self.keys}
        new = {key: reason for key, reason in why.items() if key not in there}
        request = max(self.request, default=-1) + 1
        return Skipped(
            [*self.keys, *new],
            [*self.why, *new.values()],
            [*self.round, *[number] * len(new)],
            [*self.request, *[request] * len(new)],
        )

    def write(self, folder: Path) -> None:
        """Writes `key,why,round,request`."""
        rows = zip(self.keys, self.why, self.round, self.request, strict=True)
        write_csv(folder / FILE, ("key", "why", "round", "request"), rows)

    @classmethod
    def read(cls, folder: Path) -> "Skipped":
        """Reads the table in a folder of rounds; none of a missing one."""
        if not (folder / FILE).is_file():
            return cls([], [], [], [])
        rows = read_csv(folder / FILE, ("key", "why", "round", "request"))[1]
        for row in rows:
            if not (row[2].isdecimal() and row[3].isdecimal()):
                raise ArtifactError(f"{folder / FILE}: key {row[0]}: expected two numbers, got {row[2]},{row[3]}")
        return cls(
            [row[0] for row in rows],
            [row[1] for row in rows],
            [int(row[2]) for row in rows],
            [int(row[3]) for row in rows],
        )
