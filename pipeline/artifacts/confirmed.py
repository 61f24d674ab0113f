"""`confirmed.csv`: labels that a person confirmed many at once, where the graph was surest.

They are labels like any other to learn from. But how often they are right when they are left out says nothing of other
images: nothing is estimated from them.
"""

from collections.abc import Collection
from pathlib import Path

from pipeline.base.files import read_csv, write_csv

FILE = "confirmed.csv"  # beside labels.csv


def write_confirmed(folder: Path, keys: Collection[str]) -> None:
    """Writes `key`, sorted."""
    write_csv(folder / FILE, ("key",), ([key] for key in sorted(keys)))


def read_confirmed(folder: Path) -> frozenset[str]:
    """The keys; none where there is no such file, as beside labels that nobody gave in a page."""
    file = folder / FILE
    return frozenset(row[0] for row in read_csv(file, ("key",))[1]) if file.is_file() else frozenset()
