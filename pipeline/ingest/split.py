"""Which images are for the test: those that the source says, or a part that is drawn here."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from numpy import ndarray
from numpy.random import Generator

from pipeline.base import rng
from pipeline.base.errors import SourceError
from pipeline.base.files import read_csv
from pipeline.ingest.source import Item


def groups_of(listed: Mapping[str, Item], attributes: str) -> dict[str, Hashable]:
    """The group of each key in a CSV with path,group; one that it does not name, or without a group, is its own.

    `attributes` is the CSV or "". Raises SourceError for a path that is not listed, two groups for one path, and a
    group in both splits, where these are the source's own.
    """
    groups: dict[str, Hashable] = {key: (key,) for key in listed}
    if not attributes:
        return groups
    keys = {item.path: key for key, item in listed.items()}
    said: dict[str, str] = {}
    first: dict[str, str | None] = {}
    for cell, text, *_ in read_csv(Path(attributes), ("path", "group"))[1]:
        path, group = cell if cell in keys else cell.strip(), text.strip()
        if path not in keys:
            raise SourceError(f"{attributes}: {path}: expected an image of that path, found none")
        key = keys[path]
        if said.setdefault(key, group) != group:
            raise SourceError(f"{attributes}: {path}: expected one group, got {said[key]!r} and {group!r}")
        if group:
            groups[key] = group
            if first.setdefault(group, listed[key].split) != listed[key].split:
                raise SourceError(f"{attributes}: {group}: expected a group in one split, got it in both")
    return groups


def costs_of(listed: Mapping[str, Item], attributes: str) -> dict[str, float]:
    """What the label of each key costs, where the CSV has a column cost after path,group; else nothing.

    Raises SourceError for a cost that is no number above 0, and for an image of those listed that has none.
    """
    header, rows = read_csv(Path(attributes), ("path", "group")) if attributes else ([], [])
    if "cost" not in header:
        return {}
    keys = {item.path: key for key, item in listed.items()}
    costs: dict[str, float] = {}
    for row in rows:
        path, text = row[0] if row[0] in keys else row[0].strip(), row[header.index("cost")].strip()
        try:
            cost = float(text)
        except ValueError:
            cost = 0.0
        if not 0 < cost < float("inf"):
            raise SourceError(f"{attributes}: {path}: expected a cost above 0, got {text!r}")
        costs[keys[path]] = cost
    missing = next((listed[key].path for key in listed if key not in costs), None)
    if missing is not None:
        raise SourceError(f"{attributes}: {missing}: expected a cost for every image, found none")
    return costs


def splits_of(items: Mapping[str, Item], groups: Mapping[str, Hashable], fraction: float, seed: int) -> dict[str, str]:
    """The split of each key: the source's own, or `choose_test` by the group of each."""
    own = [item.split for item in items.values()]
    if None not in own:
        return {key: str(split) for key, split in zip(items, own, strict=True)}
    classes = [item.answer[0] if item.answer else None for item in items.values()]
    test = choose_test(classes, [groups[key] for key in items], fraction, rng.stream(seed, "ingest", "split"))
    return {key: "test" if chosen else "train" for key, chosen in zip(items, test, strict=True)}


def choose_test(
    classes: Sequence[Hashable], groups: Sequence[Hashable], fraction: float, chance: Generator
) -> Bool[ndarray, " n"]:
    """True for the images of the test split: `fraction` of each class and of all images, as near as whole ones allow.

    Every class keeps an image for training, so one with a single image is not tested. A group goes to one split as a
    whole; large ones are placed first, each where it brings the classes nearer to their numbers. The class None is that
    of images without an answer. A function of the order of the images, so the caller sorts them.
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
