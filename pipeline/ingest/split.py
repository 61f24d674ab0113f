"""Which images are for the test: those that the source names, or a part that is drawn here, by groups."""

import hashlib
import logging
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.base.errors import SourceError
from pipeline.base.tables import Table
from pipeline.ingest.lookup import found
from pipeline.ingest.source import Item, Listing

log = logging.getLogger(__name__)

SPLITS = ("train", "test")


def used_splits(listing: Listing) -> Listing:
    """The listing with its images to train and to test: those of val serve as the test where there is no test split.

    They do so too where they have answers and those of test have none, with which nothing could be measured. An image
    that the source's splits pass over is trained on. The other one of test and val is left out, with a word. Where all
    images are of one split, there is none.
    """
    counts = Counter(item.split for item in listing.items)
    if len({*counts} - {None}) < 2:
        return replace(listing, items=[replace(item, split=None) if item.split else item for item in listing.items])
    answered = {item.split for item in listing.items if item.answer}
    unlabelled = "val" in answered and "test" not in answered
    test, other = ("val", "test") if unlabelled or "test" not in counts else ("test", "val")
    why = "none of them has an answer, and val has" if unlabelled else "there is a test split"
    left_out = f"; {counts[other]} of {other} are left out, as {why}" if counts[other] else ""
    rest = f", {counts[None]} without a split to train too" if counts[None] else ""
    log.info(
        "ingest: the split is %s: %d images of train to train, %d of %s to test%s%s",
        *(listing.splits_from, counts["train"], counts[test], test, rest, left_out),
    )
    role = {None: "train", "train": "train", test: "test"}
    kept = (item for item in listing.items if item.split in role)
    items = [item if item.split == role[item.split] else replace(item, split=role[item.split]) for item in kept]
    return replace(listing, items=items)


def groups_and_costs(listed: Mapping[str, Item], file: str) -> tuple[dict[str, Hashable], dict[str, float]]:
    """The group of each key, and what its label costs, from a CSV path,group[,cost]; "" is no file.

    An image without a row or a group is a group of its own. There are no costs without that column. Raises SourceError
    for a path that is not listed, two groups for one path, a group in both of the source's own splits, a cost that is
    no number above 0, and an image of those listed without a cost.
    """
    groups: dict[str, Hashable] = {key: (key,) for key in listed}
    if not file:
        return groups, {}
    table = Table.read(Path(file), ("path", "group"))
    key_of_path = {item.path: key for key, item in listed.items()}
    named: dict[str, str] = {}
    split_of_group: dict[str, str | None] = {}
    costs: dict[str, float] = {}
    place, groups_named = table.place("path") or 0, table.column("group") or []
    texts, cost = [row[place] for row in table.rows], table.column("cost")
    for at, (text, path, group) in enumerate(zip(texts, found(texts, key_of_path), groups_named, strict=True)):
        if path is None:
            raise SourceError(f"{file}: {text.strip()}: expected an image of that path, found none")
        key = key_of_path[path]
        if named.setdefault(key, group) != group:
            raise SourceError(f"{file}: {path}: expected one group, got {named[key]!r} and {group!r}")
        if group:
            groups[key] = group
            if split_of_group.setdefault(group, listed[key].split) != listed[key].split:
                raise SourceError(f"{file}: {group}: expected a group in one split, got it in both")
        if cost is not None:
            costs[key] = _cost(cost[at], f"{file}: {path}")
    missing = next((item.path for key, item in listed.items() if key not in costs), None)
    if cost is not None and missing is not None:
        raise SourceError(f"{file}: {missing}: expected a cost for every image, found none")
    return groups, costs


def _cost(text: str, where: str) -> float:
    try:
        cost = float(text)
    except ValueError:
        cost = 0.0
    if not 0 < cost < float("inf"):
        raise SourceError(f"{where}: expected a cost above 0, got {text!r}")
    return cost


def splits_of(items: Mapping[str, Item], groups: Mapping[str, Hashable], fraction: float, seed: int) -> dict[str, str]:
    """The split of each key: the source's own, or `held_out` by the group of each; all to train where none is answered.

    So answers or images that come later move no image, but for the first answers: nothing is held out before these.
    """
    given = [item.split for item in items.values()]
    if None not in given:
        return {key: str(split) for key, split in zip(items, given, strict=True)}
    if not any(item.answer for item in items.values()):
        log.info("ingest: no image has an answer, so all are to train and none is held out for a test")
        return dict.fromkeys(items, "train")
    log.info("ingest: %g of the images, chosen by their names alone, are to test (ingest.test_fraction)", fraction)
    return {key: "test" if held_out(groups[key], fraction, seed) else "train" for key in items}


def held_out(group: Hashable, fraction: float, seed: int) -> bool:
    """Whether a group is of the test split, as `fraction` of many groups are, whatever others there are."""
    digest = hashlib.blake2b(f"{seed} {group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) < fraction * 2**64
