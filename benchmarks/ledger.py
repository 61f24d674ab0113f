"""The figures of `make bench`: each beside its limit and beside the last runs on such a machine, kept in record.json.

A figure is a ratio to a floor or to a peer that ran in turn with it, so that a busy machine slows both; more is better.
It falls where it is more than a tenth below the median of the last five runs. A figure that fell is not kept, else the
next run would take it for the usual.
"""

import json
import os
import platform
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

RECORD = Path(__file__).with_name("record.json")
FALL, RUNS = 0.1, 5


class Figure(NamedTuple):
    """A ratio, and the least that it may be, or None where none is set."""

    name: str
    ratio: float
    limit: float | None = None


def machine() -> str:
    """The processor and its cores: ratios of another one are no measure for these."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores"


def close(benchmark: str, figures: Iterable[Figure], record: Path = RECORD) -> int:
    """Prints the figures, keeps them, and returns the exit status: 1 where one is below its limit or fell."""
    kept = json.loads(record.read_text()) if record.exists() else {}
    runs = kept.setdefault(machine(), {}).setdefault(benchmark, {})
    print(f"\n{benchmark:<40}{'now':>8}{'usual':>8}{'limit':>8}   more is better")
    bad = False
    for name, ratio, limit in figures:
        last = runs.get(name, [])
        usual = statistics.median(last) if last else None
        below, fell = limit is not None and ratio < limit, usual is not None and ratio < (1 - FALL) * usual
        if not fell:
            runs[name] = [*last, round(ratio, 3)][-RUNS:]
        shown = "".join(f"{'' if value is None else f'{value:.2f}':>8}" for value in (ratio, usual, limit))
        print(f"{name:<40}{shown}{'   below the limit' * below}{'   fell' * fell}", flush=True)
        bad |= below or fell
    record.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    return int(bad)
