"""The classes of a source: their order, and coarser classes from a file."""

import logging
import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from pipeline.artifacts.class_names import joined, match, means_no_label, spellings, tidy
from pipeline.artifacts.labels import level_names
from pipeline.base.errors import SourceError, first_names
from pipeline.base.files import read_csv
from pipeline.ingest.source import Item, Listing

log = logging.getLogger(__name__)


def natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """A sort key: numbers within a name by value, letters without regard to case, then the name itself."""
    parts = [part for part in re.split(r"([0-9]+)", name.lower()) if part]
    return [(0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts], name


def class_names(listing: Listing, answers: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """For each level its classes, in the data set's own order or that of a person: 2 before 10, b beside B."""
    if listing.classes is not None:
        return {level: list(names) for level, names in listing.classes.items()}
    levels = enumerate(listing.levels)
    return {level: sorted({answer[at] for answer in answers} - {""}, key=natural) for at, level in levels}


def in_one_form(listing: Listing) -> Listing:
    """The listing with one spelling for each class, and without answers that say that there is none.

    Raises SourceError where a class has two classes above it. A source that has its own classes is left as it is.
    """
    if listing.classes is not None:
        return listing
    answers = Counter((item.split, item.answer) for item in listing.items if item.answer)
    seen: list[dict[str, Counter[Hashable]]] = [{} for _ in listing.levels]
    for (split, answer), count in answers.items():
        for at, name in enumerate(answer):
            seen[at].setdefault(name, Counter())[split] += count
    forms = []
    for names in seen:
        known = {name: counts for name, counts in names.items() if not means_no_label(name)}
        chosen = spellings(known)
        for spelling, found in joined(chosen).items():
            log.warning("ingest: %s are taken for one class, %r", " and ".join(found), spelling)
        forms.append({**dict.fromkeys(names, ""), **chosen})
    new = {answer: tuple(form[name] for form, name in zip(forms, answer, strict=True)) for _, answer in answers}
    parent: dict[tuple[int, str], str] = {}
    for answer in sorted({*new.values()}):
        refuse_two_parents(answer, parent, "ingest")
    for name in sorted({answer[0] for answer in new if answer[0] and not new[answer][0]}):
        count = sum(count for (_, answer), count in answers.items() if answer[0] == name)
        log.info("ingest: %d images have the answer %r, which is taken for no label", count, name)
    items = [
        replace(item, answer=new[item.answer] if new[item.answer][0] else None)
        if item.answer and (new[item.answer] != item.answer or not item.answer[0])
        else item
        for item in listing.items
    ]
    none = sum(item.answer is None for item in items)
    if 0 < none < len(items):
        log.info("ingest: %d of %d images have no label", none, len(items))
    return replace(listing, items=items)


def lost_classes(before: Mapping[str, Item], after: Mapping[str, Item]) -> list[str]:
    """Classes that had images before, and have none after."""
    old, new = ({item.answer[0] for item in items.values() if item.answer} for items in (before, after))
    return sorted(old - new, key=natural)


def with_hierarchy(listing: Listing, file: str) -> Listing:
    """The listing with the levels of a CSV `label,coarse[,coarse2...]` in place of its own coarser ones; "" is no file.

    Raises SourceError unless the file has a row for each class and for no other, and each class one class above it.
    """
    if not file:
        return listing
    levels, rows = _read_hierarchy(Path(file))
    answered = {item.answer[0] for item in listing.items if item.answer}
    above = {match(name, [*answered]) or name: names for name, names in rows.items()}
    finest = list(listing.classes[listing.levels[0]]) if listing.classes else sorted(answered, key=natural)
    for name in above:
        if name not in {*finest, *answered}:
            has = first_names(finest) or "none"
            raise SourceError(f"{file}: {name}: expected a class of the source, which has {has}")
    for name in finest:
        if name not in above:
            raise SourceError(f"{file}: expected a row for every class, found none for {name}")
    items = [
        replace(item, answer=(item.answer[0], *above[item.answer[0]])) if item.answer else item
        for item in listing.items
    ]
    classes = {levels[0]: finest}
    for at, level in enumerate(levels[1:]):
        classes[level] = sorted({names[at] for names in above.values()}, key=natural)
    return replace(listing, levels=levels, items=items, classes=classes)


def _read_hierarchy(file: Path) -> tuple[Sequence[str], Mapping[str, tuple[str, ...]]]:
    """The names of all levels, and the classes above each finest one."""
    levels, rows = read_csv(file, ("label", "coarse"))
    if tuple(levels) != level_names(len(levels)):
        raise SourceError(f"{file}: expected the columns {','.join(level_names(len(levels)))}, got {','.join(levels)}")
    above: dict[str, tuple[str, ...]] = {}
    parent: dict[tuple[int, str], str] = {}
    for row in rows:
        names = [tidy(cell) for cell in row]
        if not all(names):
            where = names[0] or ",".join(names)
            raise SourceError(f"{file}: {where}: expected a class at each level, got an empty cell")
        refuse_two_parents(names, parent, str(file))
        above[names[0]] = tuple(names[1:])
    return levels, above


def refuse_two_parents(names: Sequence[str], parent: dict[tuple[int, str], str], where: str) -> None:
    """Notes in `parent` which class is above each of these, finest first; refuses a class below two."""
    for level, (name, coarser) in enumerate(pairwise(names)):
        if coarser and parent.setdefault((level, name), coarser) != coarser:
            both = f"{parent[level, name]} and {coarser}"
            raise SourceError(f"{where}: {name}: expected one class above it, got {both}")
