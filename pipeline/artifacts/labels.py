"""Class names by key: `answers.csv` and `labels.csv`, `classes.json`; and `sources.csv`, path and picture by key.

`ingest` writes answers and paths, and only `label`, `evaluate` and `report` read them: no selector and no
self-supervised method ever sees a label.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_csv, read_json, write_csv, write_json

TAKEN = ("knn", "linear", "probe", "random_probe")  # what other metrics begin with: no names for a level of classes


@dataclass(frozen=True)
class Sources:
    """`sources.csv`: path and picture of each key within its source. For `label`, `evaluate` and `report` only."""

    path: Mapping[str, str]
    picture: Mapping[str, str] = field(default_factory=dict)  # a digest of what was brought; none where it is not known

    def write(self, file: Path) -> None:
        """Writes `key,path,picture`, sorted by key."""
        rows = ((key, path, self.picture.get(key, "")) for key, path in sorted(self.path.items()))
        write_csv(file, ("key", "path", "picture"), rows)

    @classmethod
    def read(cls, file: Path) -> "Sources":
        rows = read_csv(file, ("key", "path"))[1]
        return cls({row[0]: row[1] for row in rows}, {row[0]: row[2] for row in rows if row[2:] and row[2]})


def level_names(depth: int) -> tuple[str, ...]:
    """Names for `depth` levels, finest first: label, coarse, coarse2 and so on."""
    return ("label", "coarse", *(f"coarse{n}" for n in range(2, depth)))[:depth]


@dataclass(frozen=True)
class Labels:
    """`answers.csv` and `labels.csv`: for each key its class name at each level, finest first; "" is not labelled."""

    levels: Sequence[str]  # the first is "label"
    rows: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        for level in self.levels:
            if level in TAKEN:
                raise ArtifactError(f"labels: expected a level of another name than {', '.join(TAKEN)}, got {level!r}")

    def less(self, keys: Collection[str]) -> "Labels":
        """The same without the rows of these keys."""
        return Labels(self.levels, {key: names for key, names in self.rows.items() if key not in keys})

    def completed(self, where: Path) -> "Labels":
        """The same with coarser names filled in where another row of the same class has them.

        Raises ArtifactError, by key, for a class that stands below two coarser ones.
        """
        above: dict[tuple[int, str], str] = {}
        rows = {key: list(names) for key, names in self.rows.items()}
        for fill in (False, True):
            for key, names in rows.items():
                for level, (name, coarser) in enumerate(pairwise(names)):
                    if fill and name and not coarser:
                        names[level + 1] = above.get((level, name), "")
                    elif not fill and name and coarser and above.setdefault((level, name), coarser) != coarser:
                        both = f"{above[level, name]!r} and {coarser!r}"
                        raise ArtifactError(f"{where}: key {key}: expected one class above {name!r}, got {both}")
        return Labels(self.levels, rows)

    def write(self, file: Path, *, by_key: bool = True) -> None:
        """Writes `key,label[,coarser levels]`, sorted by key or in the order of the rows."""
        rows = sorted(self.rows.items()) if by_key else self.rows.items()
        write_csv(file, ("key", *self.levels), [(key, *names) for key, names in rows])

    @classmethod
    def read(cls, file: Path) -> "Labels":
        """Reads the table; a key with two rows that differ is refused."""
        header, body = read_csv(file, ("key", "label"))
        rows: dict[str, Sequence[str]] = {}
        for key, *names in body:
            if rows.setdefault(key, names) != names:
                raise ArtifactError(f"{file}: key {key}: expected one label, got {rows[key][0]!r} and {names[0]!r}")
        return cls(header[1:], rows)


@dataclass(frozen=True)
class Classes:
    """`classes.json`: the names of the classes at each level, in the order of a model's outputs; may be empty."""

    names: Mapping[str, Sequence[str]]

    def union(self, level: str, others: Iterable[str]) -> list[str]:
        """The names at a level, and after them the `others` that are none of these, sorted; "" is no name."""
        return self.then(level, sorted({*others}))

    def then(self, level: str, others: Iterable[str]) -> list[str]:
        """The same, the `others` in the order in which they come."""
        return [name for name in dict.fromkeys([*self.names.get(level, ()), *others]) if name]

    def write(self, file: Path) -> None:
        write_json(file, {level: list(names) for level, names in self.names.items()})

    @classmethod
    def read(cls, file: Path) -> "Classes":
        """Reads the names; refuses what is no list of them."""
        names = read_json(file)
        for level, listed in names.items():
            wrong = [name for name in listed if not isinstance(name, str)] if isinstance(listed, list) else [listed]
            if wrong:
                raise ArtifactError(f"{file}: {level}: expected a list of names, got {wrong[0]!r}")
        return cls(names)
