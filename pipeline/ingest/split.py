"""Which images are for the test: those that the source names, or a part that is drawn here, by groups."""

import logging
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from numpy.random import Generator

from pipeline.base import rng
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
        return replace(listing, items=[replace(item, split=None) for item in listing.items])
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
    return replace(
        listing, items=[replace(item, split=role[item.split]) for item in listing.items if item.split in role]
    )


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
    """The split of each key: the source's own, or `choose_test` by the group of each."""
    given = [item.split for item in items.values()]
    if None not in given:
        return {key: str(split) for key, split in zip(items, given, strict=True)}
    classes = [item.answer[0] if item.answer else None for item in items.values()]
    test = choose_test(classes, [groups[key] for key in items], fraction, rng.stream(seed, "ingest", "split"))
    log.info("ingest: the split is drawn here: %g of the images are to test (ingest.test_fraction)", fraction)
    return {key: "test" if chosen else "train" for key, chosen in zip(items, test, strict=True)}


def choose_test(
    classes: Sequence[Hashable], groups: Sequence[Hashable], fraction: float, chance: Generator
) -> Bool[ndarray, " n"]:
    """True for the images of the test split: `fraction` of each class and of all images, as near as whole ones allow.

    Every class keeps an image for training, so one with a single image is not tested. A group goes to one split as a
    whole; large ones are placed first, each where it brings the classes nearer to their numbers. The class None is that
    of images without an answer. The result depends on the order of the images, so the caller sorts them.
    """
    held = Counter(classes)
    wanted = _wanted(held, fraction, chance)
    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    by_group = list(members.values())
    chosen = np.zeros(len(classes), bool)
    for rows in sorted((by_group[at] for at in chance.permutation(len(by_group))), key=len, reverse=True):
        inside = Counter(classes[row] for row in rows)
        # The change in the sum over classes of (wanted - chosen)^2, were the group to go to the test split.
        change = sum(count * (count - 2 * wanted[name]) for name, count in inside.items())
        if change < 0 and all(count < held[name] for name, count in inside.items()):
            chosen[rows] = True
            wanted.subtract(inside)
            held.subtract(inside)
    return chosen


def _wanted(counts: Counter[Hashable], fraction: float, chance: Generator) -> Counter[Hashable]:
    """Numbers of test images for each class that sum to `fraction` of all: the largest remainders are rounded up."""
    classes = list(counts)
    classes = [classes[at] for at in chance.permutation(len(classes))]  # chance decides between equal remainders
    wanted = Counter({name: min(int(fraction * counts[name]), counts[name] - 1) for name in classes})
    spare = [name for name in classes if wanted[name] < counts[name] - 1]
    short = max(0, round(fraction * counts.total()) - wanted.total())
    for name in sorted(spare, key=lambda name: wanted[name] - fraction * counts[name])[:short]:
        wanted[name] += 1
    return wanted
