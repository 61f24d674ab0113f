"""Cases that are computed once, each a JSON record: a command that was ended goes on, and a larger one adds to it.

A case is a group and a method. What all methods of a group share is made once a group, and only where one is missing.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_json, write_json

log = logging.getLogger(__name__)
Record = Mapping[str, Any]
G = TypeVar("G", bound=Any)  # a frozen dataclass, whose fields go into the record
S = TypeVar("S")


@dataclass(frozen=True)
class Work(Generic[G, S]):
    """How cases are computed, and what their records are called."""

    share: Callable[[G], S]
    shared: str  # what the record calls the seconds of `share`
    score: Callable[[S, G, str], dict[str, Any]]
    name: Callable[[G, str], str]  # of the file; it differs where anything that the record depends on does
    fields: Collection[str]  # that a record must have
    kinds: Callable[[G, str], tuple[Hashable, Hashable]]  # cases of one kind take equally long: to share, and to score
    say: Callable[[G, str, Record], str]


def measure(groups: Iterable[G], methods: Sequence[str], work: Work[G, S], folder: Path) -> list[Record]:
    """Every case, from its record in `folder` or computed and recorded there; logs each with the time left.

    Records of another name are not looked at. Raises ArtifactError for a file that is not the record of a case.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cases = [(group, method) for group in groups for method in methods]
    files = {case: folder / work.name(*case) for case in cases}
    found: dict[tuple[G, str], Record] = {case: read_json(file) for case, file in files.items() if file.is_file()}
    for case, record in found.items():
        if not {*work.fields, "seconds", work.shared} <= set(record):
            raise ArtifactError(f"{files[case]}: expected the record of a case, got {record}; delete the file")
    for group in dict.fromkeys(group for group, _ in cases):
        missing = [method for method in methods if (group, method) not in found]
        if not missing:
            continue
        started = time.perf_counter()
        shared = work.share(group)
        sharing = time.perf_counter() - started
        for method in missing:
            started = time.perf_counter()
            values = work.score(shared, group, method)
            seconds = {work.shared: round(sharing, 3), "seconds": round(time.perf_counter() - started, 3)}
            record = {**asdict(group), "method": method, **values, **seconds}
            write_json(files[group, method], record)
            found[group, method] = record
            left = [case for case in cases if case not in found]
            said = f", about {_left(left, found, work):.0f} s left" if left else ""
            log.info("%s; %d of %d cases%s", work.say(group, method, record), len(found), len(cases), said)
    return [found[case] for case in cases]


def _left(cases: Sequence[tuple[G, str]], found: Mapping[tuple[G, str], Record], work: Work[G, S]) -> float:
    """Seconds for the cases, each as long as those of its kind so far, else as all so far."""

    def mean(kind: Hashable, place: int, key: str) -> float:
        own = [record[key] for case, record in found.items() if work.kinds(*case)[place] == kind]
        own = own or [record[key] for record in found.values()]
        return sum(own) / len(own)

    groups = {group: work.kinds(group, method)[0] for group, method in cases}
    return sum(mean(kind, 0, work.shared) for kind in groups.values()) + sum(
        mean(work.kinds(*case)[1], 1, "seconds") for case in cases
    )


def digest_of(*values: object) -> str:
    """Eight characters that differ between different values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]
