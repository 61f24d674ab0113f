"""The one vocabulary of splits: what names of folders and tars, and cells of a column, say of train, val and test."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from pipeline.artifacts.class_names import means_no_label
from pipeline.base.errors import SourceError

WORDS = {  # as whole words of a name, in capitals or not, with numbers beside them or not
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# Words that look like a split and are none of these: a person who writes them means one.
LIKE = re.compile(rf"({'|'.join(WORDS)})(set|data|images?|imgs?|pics|photos|files|split|{'|'.join(WORDS)})s?|trn|tst")


class Said(NamedTuple):
    """What a name says: the split, and the other words of the name, without numbers."""

    split: str | None
    rest: str


def said(name: str, where: str | None = None) -> Said:
    """What a name says. Raises SourceError, with `where`, for one that looks like a split and is not understood."""
    letters = re.findall(r"[^\W\d_]+", name)
    words = [word.lower() for part in letters for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+", part)]
    splits = {WORDS[word] for word in words if word in WORDS}
    rest = " ".join(word for word in words if word not in WORDS)
    if where is not None and (any(map(LIKE.fullmatch, words)) or (len(splits) > 1 and not rest)):
        raise SourceError(
            f"{where}: expected a split's name with one of the words train, val and test in it, or a name that looks "
            f"like none, got {name}: rename it"
        )
    return Said(splits.pop() if len(splits) == 1 else None, rest)


def splits_of_names(names: Mapping[str, str], where: str, *, classes: bool) -> dict[str, str] | None:
    """The split (train, val, test) that each of these names says, by where it stands; None where they say none.

    All names of one split say none. Where names may be of `classes`, words beside others (`freight train`) are splits
    only beside the same others (`dogs train`, `dogs test`). Raises SourceError where some names say a split and others
    do not, for a split to train or to test without the other, and for what looks like a split and is not understood.
    """
    found = {place: said(name, place) for place, name in names.items()}
    if classes:
        by_rest: dict[str, set[str | None]] = {}
        for one in found.values():
            by_rest.setdefault(one.rest, set()).add(one.split)
        sure = any((rest == "" and {*words} - {None}) or _both({*words}) for rest, words in by_rest.items())
        found = found if sure else {place: Said(None, one.rest) for place, one in found.items()}
    splits = {place: one.split for place, one in found.items()}
    if _both({*splits.values()}):  # what has no label is trained on, as nothing can be tested with it
        splits |= {
            place: "train" for place, split in splits.items() if split is None and means_no_label(names[place] or "-")
        }
    used = {split for split in splits.values() if split}
    if len({*splits.values()}) <= 1:
        return None
    if not _both(used):
        place = next(place for place, split in splits.items() if split)
        partner = "test or val" if "train" in used else "train"
        raise SourceError(
            f"{place}: expected {partner} beside it, as for a split, found none; a class needs another name"
        )
    for place, split in splits.items():
        if split is None:
            raise SourceError(f"{place}: expected train, test or val, as other {where} say, got neither")
    return {place: split for place, split in splits.items() if split}


def all_splits(names: Iterable[str]) -> dict[str, str]:
    """The split that each name says, where each says one and they are for training and for a test; else nothing."""
    splits: dict[str, str] = {}
    for name in names:
        split = said(name).split
        if split is None:
            return {}
        splits[name] = split
    return splits if _both({*splits.values()}) else {}


def _both(splits: Collection[str | None]) -> bool:
    """Whether there is a split to train, and one to test."""
    return "train" in splits and ("test" in splits or "val" in splits)
