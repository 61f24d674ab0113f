"""Finished rounds of labelling: a person's data, kept apart from what the chain writes.

`data/rounds/NN` holds the labels of round NN and, in `metrics.json`, what was measured with them and all before;
`data/rounds/outputs` the last model's features of all training images, `data/rounds/skipped.csv` the picks that are not
to be picked again. A graph of stages has no cycles, so the commands `keep_round` and `replace_picks` put them there.
The stage `label` notes the audit in `data/rounds/audit.csv` when it is labelled, which changes no pick: DVC passes over
that file.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.artifacts.audit import FILE as AUDIT
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.model_outputs import OUTPUTS
from pipeline.artifacts.skipped import FILE
from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_csv

METRICS = "metrics.json"  # beside a round's labels


def round_files(folder: Path) -> list[Path]:
    """The label files of finished rounds, the oldest first; none of a missing folder. Refuses what is no round."""
    if not folder.is_dir():
        return []
    others = {OUTPUTS, FILE, AUDIT, *(entry.name for entry in folder.iterdir() if entry.name.startswith("."))}
    rounds = [entry for entry in folder.iterdir() if entry.name not in others]
    for entry in sorted(rounds):
        if not entry.name.isdecimal() or not (entry / "labels.csv").is_file():
            raise ArtifactError(f"{entry}: expected a round, a numbered folder with labels.csv, found something else")
    return [entry / "labels.csv" for entry in sorted(rounds, key=lambda entry: int(entry.name))]


def labelled_keys(path: Path) -> list[str]:
    """The keys that have a label: in a folder of rounds, or in one CSV with the column key, of whatever label."""
    if path.is_dir():
        return [key for key, names in read_rounds(path).rows.items() if any(names)]
    if not path.is_file():
        raise ArtifactError(f"{path}: expected a folder of rounds or a CSV with the column key, found none")
    header, rows = read_csv(path, ())
    if "key" not in header:
        raise ArtifactError(f"{path}: expected the column key, got {','.join(header) or 'nothing'}")
    return list(dict.fromkeys(row[header.index("key")].strip() for row in rows))


def read_rounds(folder: Path) -> Labels:
    """The labels of all finished rounds. Raises ArtifactError for an image that has one in two of them."""
    tables: dict[Path, Labels] = {}
    for file in round_files(folder):
        tables[file] = Labels.read(file)
        for key in tables[file].rows:
            before = next((earlier for earlier in tables if earlier != file and key in tables[earlier].rows), None)
            if before is not None:
                raise ArtifactError(f"{file}: key {key}: expected an image in one round, got it in {before} too")
    return joined(*tables.values())


def joined(*tables: Labels, levels: Sequence[str] = ()) -> Labels:
    """One table of several, of these levels or of all.

    A level that a table has not is empty there; a later name replaces an earlier one, and no name never does.
    """
    levels = levels or list(dict.fromkeys(["label", *(level for table in tables for level in table.levels)]))
    rows: dict[str, Sequence[str]] = {}
    for table in tables:
        for key, names in table.rows.items():
            later = dict(zip(table.levels, names, strict=True))
            earlier = rows.get(key, [""] * len(levels))
            rows[key] = [later.get(level, "") or name for level, name in zip(levels, earlier, strict=True)]
    return Labels(levels, rows)


class Latest(NamedTuple):
    """The labels of finished rounds and, over them, those of a person's file."""

    labels: Labels
    corrected: set[str]  # images of finished rounds whose class is another now
    taken_back: set[str]  # those that have a mark in its place

    @classmethod
    def of(cls, earlier: Labels, now: Labels, marked: Collection[str]) -> "Latest":
        """Of the rounds, the labels in the file, and the images that are marked there."""
        before = earlier.rows
        other = {key for key in before if before[key][0] and now.rows.get(key, [""])[0] not in ("", before[key][0])}
        taken_back = {*marked} & {*before} - {*now.rows}
        return cls(joined(earlier.less(other | taken_back), now), other, taken_back)


def next_number(folder: Path) -> int:
    """The number of the round after the finished ones."""
    return max((int(file.parent.name) for file in round_files(folder)), default=-1) + 1


def round_to_keep(folder: Path, labels: Labels, picks: Sequence[str], again: str) -> tuple[Path, Labels]:
    """The file of the next round, not written yet, and its labels: all that no round holds, those of the picks first.

    A person may have labelled images that are no picks: they are not to be picked again either. `again` is what one
    types for other picks. Raises ArtifactError where there are no new picks, or no label for one of them.
    """
    before = read_rounds(folder).rows
    new = [key for key in picks if key not in before]
    of_picks = [key for key in new if any(labels.rows.get(key, ()))]
    if not new:
        raise ArtifactError(
            f"{folder}: expected picks that no round holds, got {len(picks)} that are kept already; "
            f"`{again}` chooses others"
        )
    if not of_picks:
        raise ArtifactError(f"{folder}: expected a label for one pick at least, got none for {len(new)}")
    others = [key for key, names in labels.rows.items() if key not in {*before, *of_picks} and any(names)]
    rows = {key: labels.rows[key] for key in (*of_picks, *others)}
    return folder / f"{next_number(folder):02d}" / "labels.csv", Labels(labels.levels, rows)
