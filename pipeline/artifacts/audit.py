"""Which images an audit is of: they measure the result, are never picked and never trained on.

Those of which a person has labelled some stand in `audit.csv`, beside the finished rounds, and stay in the audit.
"""

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

from pipeline.base.files import read_csv, write_csv

FILE = "audit.csv"


def audit_keys(keys: Iterable[str], taken: Collection[str], count: int, kept: Collection[str]) -> list[str]:
    """`count` of the images that are not `taken`, those with a label: the first in an order as good as random.

    The order depends on each key alone. All up to the last of those `kept` belong to it: these stay when `count`
    becomes smaller, or 0, and when images are added, of which the same share joins them.
    """
    if not count and not kept:
        return []  # without an order of a million keys
    last = max(map(_order, kept), default=b"")
    free = sorted({*keys} - {*taken}, key=_order)
    return [key for place, key in enumerate(free) if place < count or _order(key) <= last]


def read_audit(rounds: Path) -> list[str]:
    """The images of the audit so far; none of what is no folder with such a file."""
    file = rounds / FILE
    return [row[0] for row in read_csv(file, ("key",))[1]] if file.is_file() else []


def write_audit(rounds: Path, keys: Collection[str]) -> None:
    """Writes `key`, sorted, unless these stand there."""
    if {*keys} != {*read_audit(rounds)}:
        write_csv(rounds / FILE, ("key",), ([key] for key in sorted(keys)))


def _order(key: str) -> bytes:
    return hashlib.blake2b(f"audit {key}".encode()).digest()
