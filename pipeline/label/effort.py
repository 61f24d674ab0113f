"""How a label was given and how long it took, where the page that a person used has measured it; and what it is not."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from pipeline.base.files import read_csv

CONFIRMED = "confirmed"  # one of many at once; the others are typed, key and guess
NOT = "not"  # the column of the class for which a person unticked an image among many
LED = (CONFIRMED, "guess")  # the person saw what the labels so far say: of no use to measure with

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Effort:
    """How one label was given, "" where it is not known, and the seconds that it took; None where nobody measured."""

    how: str
    seconds: float | None


def read_effort(file: Path) -> dict[str, Effort]:
    """By key, of the rows that say it. A file that is missing, or without these columns, has none."""
    return {row["key"]: Effort(row["how"], _seconds(row.get("seconds", ""))) for row in _rows(file, "how")}


def read_not(file: Path) -> dict[str, str]:
    """By key, the class for which a person unticked an image; none of a file that does not say it."""
    return {row["key"]: row[NOT] for row in _rows(file, NOT)}


def log_effort(effort: Mapping[str, Effort], labelled: Collection[str]) -> None:
    """Logs how many of the labelled images were confirmed, and the usual seconds a label."""
    of_labels = [effort[key] for key in labelled if key in effort]
    measured = [one.seconds for one in of_labels if one.seconds is not None]
    if of_labels:
        confirmed = sum(one.how == CONFIRMED for one in of_labels)
        time = f", {median(measured):.1f} s a label (median of {len(measured)})" if measured else ""
        log.info("label: %d of %d labels of the page were confirmed many at once%s", confirmed, len(of_labels), time)


def _rows(file: Path, name: str) -> list[dict[str, str]]:
    """The rows that have something in this column."""
    header, rows = read_csv(file, ()) if file.is_file() else ([], [])
    if "key" not in header or name not in header:
        return []
    tables = (dict(zip(header, (cell.strip() for cell in row), strict=True)) for row in rows)
    return [row for row in tables if row[name]]


def _seconds(text: str) -> float | None:
    try:
        value = float(text.replace(",", "."))  # a spreadsheet may have made a comma of the point
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
