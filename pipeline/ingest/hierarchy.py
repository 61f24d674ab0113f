"""Coarser classes from a file, for a source that has none or others."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from pipeline.artifacts.labels import level_names
from pipeline.base.errors import SourceError
from pipeline.base.files import read_csv
from pipeline.ingest.names import natural
from pipeline.ingest.source import Listing


def with_hierarchy(listing: Listing, file: str) -> Listing:
    """The listing with the levels of a CSV `label,coarse[,coarse2...]` in place of its own coarser ones; "" is no file.

    Raises SourceError unless the file has a row for each class and for no other, and each class one class above it.
    """
    if not file:
        return listing
    levels, above = _read(Path(file))
    seen = {item.answer[0] for item in listing.items if item.answer}
    known = list(listing.classes[listing.levels[0]]) if listing.classes else sorted(seen, key=natural)
    for name in above:
        if name not in {*known, *seen}:
            raise SourceError(f"{file}: {name}: expected a class of the source, which has {_some(known)}")
    for name in known:
        if name not in above:
            raise SourceError(f"{file}: expected a row for every class, found none for {name}")
    items = [
        replace(item, answer=(item.answer[0], *above[item.answer[0]])) if item.answer else item
        for item in listing.items
    ]
    classes = {levels[0]: known}
    for at, level in enumerate(levels[1:]):
        classes[level] = sorted({names[at] for names in above.values()}, key=natural)
    return replace(listing, levels=levels, items=items, classes=classes)


def _read(file: Path) -> tuple[Sequence[str], Mapping[str, tuple[str, ...]]]:
    """The names of all levels, and the classes above each finest one."""
    levels, rows = read_csv(file, ("label", "coarse"))
    if tuple(levels) != level_names(len(levels)):
        raise SourceError(f"{file}: expected the columns {','.join(level_names(len(levels)))}, got {','.join(levels)}")
    above: dict[str, tuple[str, ...]] = {}
    parent: dict[tuple[int, str], str] = {}
    for row in rows:
        names = [cell.strip() for cell in row]
        if not all(names):
            raise SourceError(
                f"{file}: {names[0] or ','.join(names)}: expected a class at each level, got an empty cell"
            )
        for level, (name, coarser) in enumerate(pairwise(names)):
            if parent.setdefault((level, name), coarser) != coarser:
                both = f"{parent[level, name]} and {coarser}"
                raise SourceError(f"{file}: {name}: expected one class above it, got {both}")
        above[names[0]] = tuple(names[1:])
    return levels, above


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown or "none"
