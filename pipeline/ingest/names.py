"""Keys of images and the order of class names."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

from pipeline.base.errors import SourceError
from pipeline.ingest.source import Item, Listing


def key_of(path: str) -> str:
    """The key of an image: 20 hex digits that say nothing of its class, and sort like a shuffle."""
    return hashlib.blake2b(path.encode(), digest_size=10).hexdigest()


def keyed(items: Iterable[Item]) -> dict[str, Item]:
    """Items by key, sorted by key; refuses two of one key and names that do not fit on a line of a CSV."""
    found: dict[str, Item] = {}
    for item in items:
        for name in (item.path, *(item.answer or ())):
            if not _plain(name):
                raise SourceError(f"{item.path!r}: expected names of one line in UTF-8, got {name!r}")
        other = found.setdefault(key_of(item.path), item)
        if other is not item:
            raise SourceError(f"{item.path}: expected a key of its own, got that of {other.path}")
    return dict(sorted(found.items()))


def class_names(listing: Listing, answers: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """For each level its classes, in the data set's own order or that of a person: 2 before 10, b beside B."""
    if listing.classes is not None:
        return {level: list(names) for level, names in listing.classes.items()}
    levels = enumerate(listing.levels)
    return {level: sorted({answer[at] for answer in answers} - {""}, key=natural) for at, level in levels}


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key: numbers within a name by value, letters without regard to case, then the name itself."""
    parts = [part for part in re.split(r"([0-9]+)", name.lower()) if part]
    return [(0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts], name


def lost_classes(before: Mapping[str, Item], after: Mapping[str, Item]) -> list[str]:
    """Classes that had images before, and have none after."""
    seen = [{item.answer[0] for item in items.values() if item.answer} for items in (before, after)]
    return sorted(seen[0] - seen[1], key=natural)


def _plain(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return len(name.splitlines()) <= 1 and not name.endswith("\n")
