"""The cases of a study, each a JSON record that is computed once."""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Int64
from numpy import ndarray

from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_json, write_json

RANDOM = "random"
MORE = (2, 4, 8)  # random picks are also measured at so many times the largest budget, for what the others save
log = logging.getLogger(__name__)
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """One set of picks, which every training method is given."""

    selector: str
    budget: int
    seed: int


@dataclass(frozen=True)
class Grid:
    """What is to be measured; random picks always are, as all others are held against them."""

    selectors: Sequence[str]
    methods: Sequence[str]
    budgets: Sequence[int]
    seeds: int

    def groups(self, most: int) -> Iterator[Group]:
        """With at most so many labels. All of the grid comes with its first seed before the second begins."""
        for seed in range(self.seeds):
            for selector in dict.fromkeys([*self.selectors, RANDOM]):
                more = [times * max(self.budgets) for times in MORE] if selector == RANDOM else []
                for budget in sorted({*self.budgets, *more}):
                    if budget <= most:
                        yield Group(selector, budget, seed)


@dataclass(frozen=True)
class Work:
    """How picks are made and scored, and the digests of all that the two depend on, by selector and by method."""

    pick: Callable[[Group], Int64[ndarray, " b"]]
    score: Callable[[str, Int64[ndarray, " b"], int], dict[str, Any]]  # of a method, from picks and a seed
    of_selector: Mapping[str, str]
    of_method: Mapping[str, str]


def measure(grid: Grid, work: Work, most: int, folder: Path) -> list[Record]:
    """Every case of the grid, from its record in `folder` or computed and recorded there; logs each with the time left.

    Records of other values, vectors or answers bear another digest and are not looked at.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cases = [(group, method) for group in grid.groups(most) for method in grid.methods]
    files = {case: folder / _name(*case, work) for case in cases}
    found = {case: read_json(file) for case, file in files.items() if file.is_file()}
    for case, record in found.items():
        if not {"top1", "classes", "seconds", "pick_seconds"} <= set(record):
            raise ArtifactError(f"{files[case]}: expected the record of a case, got {record}; delete the file")
    for group in dict.fromkeys(group for group, _ in cases):
        missing = [method for method in grid.methods if (group, method) not in found]
        if not missing:
            continue
        started = time.perf_counter()
        rows = work.pick(group)
        picking = time.perf_counter() - started
        for method in missing:
            started = time.perf_counter()
            values = work.score(method, rows, group.seed)
            seconds = {"pick_seconds": round(picking, 3), "seconds": round(time.perf_counter() - started, 3)}
            record = {**asdict(group), "method": method, **values, **seconds}
            write_json(files[group, method], record)
            found[group, method] = record
            left = [case for case in cases if case not in found]
            said = f", about {_left(left, found):.0f} s left" if left else ""
            log.info(
                "%s, %d labels, seed %d, %s: %.1f %%; %d of %d cases%s",
                *(group.selector, group.budget, group.seed, method, 100 * values["top1"]),
                *(len(found), len(cases), said),
            )
    return [found[case] for case in cases]


def _name(group: Group, method: str, work: Work) -> str:
    """The file of a case: who reads the folder sees what is in it."""
    digest = f"{work.of_selector[group.selector]}{work.of_method[method]}"
    return f"{group.selector}-{group.budget}-{group.seed}-{method}-{digest}.json"


def _left(cases: Sequence[tuple[Group, str]], found: Mapping[tuple[Group, str], Record]) -> float:
    """Seconds for the cases, each as long as those of its method and selector so far, else as all so far."""

    def mean(records: Sequence[Record], key: str) -> float:
        records = records or list(found.values())
        return sum(record[key] for record in records) / len(records)

    total = 0.0
    for method in {method for _, method in cases}:
        own = [record for (_, other), record in found.items() if other == method]
        total += mean(own, "seconds") * sum(other == method for _, other in cases)
    groups = {group for group, _ in cases}
    for selector in {group.selector for group in groups}:
        own = [record for (group, _), record in found.items() if group.selector == selector]
        total += mean(own, "pick_seconds") * sum(group.selector == selector for group in groups)
    return total


def digest_of(*values: object) -> str:
    """Eight characters that differ between different values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]
