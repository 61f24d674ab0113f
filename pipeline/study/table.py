"""The tables of a study: accuracy against labels, differences to random picks, and what a label is worth."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.base.records import Record
from pipeline.evaluate.replicates import student
from pipeline.study.grid import RANDOM
from pipeline.study.multiplier import Multiplier, label_multiplier
from pipeline.study.score import PROBE

HEADER = ("method", "budget", "selector", "seeds", "top1", "low", "high", "to_random", "to_random_low",
          "to_random_high", "multiplier", "multiplier_low", "multiplier_high", "to_probe", "to_probe_low",
          "to_probe_high", "classes")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A selector's picks of one size under one training method, over the seeds. Accuracies are shares."""

    method: str
    budget: int
    selector: str
    seeds: int
    top1: tuple[float, float, float]  # mean and Student's 95 % interval
    to_random: tuple[float, float, float] | None  # the same of the difference to random picks, seed by seed
    multiplier: Multiplier | None  # against random labels and the same method
    to_probe: Multiplier | None  # against random labels and a linear probe
    classes: float

    def cells(self) -> tuple[object, ...]:
        """Under HEADER; empty where there is nothing to say."""
        gap = [f"{value:.6g}" for value in self.to_random] if self.to_random else [""] * 3
        top1 = (f"{value:.6g}" for value in self.top1)
        times = [cell for m in (self.multiplier, self.to_probe) for cell in (m.cells() if m else [""] * 3)]
        return (self.method, self.budget, self.selector, self.seeds, *top1, *gap, *times, f"{self.classes:.4g}")

    def __str__(self) -> str:
        """The row as a sentence. Not for random picks, which are compared with nothing."""
        gap, low, high = (100 * value for value in self.to_random or (0.0, 0.0, 0.0))
        return (
            f"{self.selector} and {self.method}, {self.budget} labels: {self.top1[0]:.1%}, {gap:+.1f} points to random "
            f"picks ({low:+.1f} to {high:+.1f}), which need {self.multiplier} times the labels for it"
        )

    def line(self) -> str:
        """A row of the table for a person."""
        mean, low, high = (100 * value for value in self.top1)
        gap = ""
        if self.to_random:
            gap = "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * value for value in self.to_random))
        times, other = (str(value) if value else "" for value in (self.multiplier, self.to_probe))
        saved = (times,) if self.method == PROBE else (times, other)
        cells = (self.selector, f"{mean:.1f} ({low:.1f} to {high:.1f})", gap, *saved, f"{self.classes:.1f}")
        return f"| {' | '.join(cells)} |"


def rows(records: Sequence[Record]) -> list[Row]:
    """A row for each method, budget and selector; of one budget the best first."""
    cells: dict[tuple[str, int, str], dict[int, Record]] = defaultdict(dict)
    for record in records:
        cells[record["method"], record["budget"], record["selector"]][record["seed"]] = record

    def top1(method: str, budget: int, selector: str) -> dict[int, float]:
        return {seed: record["top1"] for seed, record in cells.get((method, budget, selector), {}).items()}

    def curve(method: str) -> dict[int, list[float]]:
        budgets = {b for other, b, selector in cells if (other, selector) == (method, RANDOM)}
        return {b: list(top1(method, b, RANDOM).values()) for b in budgets}

    found = []
    for (method, budget, selector), by_seed in cells.items():
        own, chance = top1(method, budget, selector), top1(method, budget, RANDOM)
        gaps = [own[seed] - chance[seed] for seed in own if seed in chance]
        values, probe = list(own.values()), curve(PROBE)
        same = label_multiplier(values, budget, curve(method)) if selector != RANDOM else None
        other = label_multiplier(values, budget, probe) if probe and method != PROBE else None
        gap = student(gaps) if selector != RANDOM else None
        classes = float(np.mean([record["classes"] for record in by_seed.values()]))
        mean, low, high = student(values)
        ends = mean, max(0.0, low), min(1.0, high)  # no interval leaves a share's range
        found.append(Row(method, budget, selector, len(own), ends, gap, same, other, classes))
    return sorted(found, key=lambda row: (row.method, row.budget, -row.top1[0]))


def page(found: Sequence[Row], records: Sequence[Record], about: Mapping[str, object]) -> str:
    """The tables as Markdown."""
    lines = ["# What each label is worth", "", *(f"- {name}: {value}" for name, value in about.items()), "", NOTE]
    for method, budget in dict.fromkeys((row.method, row.budget) for row in found):
        table = [row for row in found if (row.method, row.budget) == (method, budget)]
        if all(row.selector == RANDOM for row in table) and len({row.selector for row in found}) > 1:
            continue  # more random labels are there for the multipliers alone
        title = f"## {method}, {budget} labels"
        saved = " | ".join(f"multiplier, {of}" for of in dict.fromkeys((method, PROBE)))
        head = f"| selector | top-1 % | to random | {saved} | classes |"
        lines += ["", title, "", head, "|---" * (head.count("|") - 1) + "|", *(row.line() for row in table)]
        of_both = [r for r in records if (r["method"], r["budget"]) == (method, budget) and "estimated" in r]
        if of_both:
            lines += ["", estimates(of_both)]
    return "\n".join(lines) + "\n"


def estimates(records: Sequence[Record]) -> str:
    """How far what propagation says of itself, without answers, is from the truth."""
    error = 100 * np.mean([abs(r["estimated"] - r["unlabelled_top1"]) for r in records])
    holds = sum(r["low"] <= r["unlabelled_top1"] <= r["high"] for r in records)
    return (
        f"The estimate without answers is {error:.1f} points off in the mean; its 95 % interval holds the truth in "
        f"{holds} of {len(records)} cases."
    )


NOTE = """Top-1 on the test images: mean over the seeds and Student's 95 % interval. To random: the difference to random
picks of the same seed, in points. Multiplier: how many random labels, per label of the selection, reach the same mean
accuracy, where random labels train the same method, and where they train a linear probe on the vectors; the interval is
a bootstrap over the seeds, wider for few of them. "> 8" means that 8 random labels for each were the most that were
tried and do not reach it; "< 1" that the fewest that were tried reach more. All intervals speak of other seeds, not of
other images."""
