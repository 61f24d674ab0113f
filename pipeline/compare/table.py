"""The rows that runs are compared by, the ones that decide first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.compare.inputs import Run
from pipeline.compare.paired import paired
from pipeline.evaluate.headline import PROPAGATE, Figure, told_from
from pipeline.evaluate.paired import Paired
from pipeline.graph.estimate import FEW

MEASURED = {
    "test": "test images",
    "audit": "images of the audit",
    "estimate": "an estimate from the labels",
}


@dataclass(frozen=True)
class Row:
    """A line of the table: what it says, the metrics behind it, and a cell for each run."""

    name: str
    metrics: str
    cells: Sequence[str]


def share(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"


def points(value: float) -> str:
    return f"{100 * value:+.1f}"


def figure(one: Figure) -> str:
    """A share of right images with its interval."""
    return f"{share(one.share)} ({share(one.low)} to {share(one.high)})"


def rows(runs: Sequence[Run]) -> list[Row]:
    """The rows in which one run at least has something."""
    found = [Row(name, metrics, [_cell(cell, run) for run in runs]) for name, metrics, cell in ROWS]
    return [row for row in found if any(row.cells)]


def pairs(runs: Sequence[Run]) -> list[tuple[Run, Run, str]]:
    """Each run, each later one, and what the later one is beside it."""
    both = [(one, other) for at, one in enumerate(runs) for other in runs[at + 1 :]]
    return [(one, other, verdict(paired(one, other), one, other)) for one, other in both]


def verdict(found: Paired | str, first: Run, second: Run) -> str:
    """The second run beside the first one, in words."""
    if isinstance(found, str):
        return f"not comparable: {found}{_other_classes(first, second)}"
    low, high = found.interval
    alone = f"{found.gained:,} are right in {second.name} alone, {found.lost:,} in {first.name} alone"
    return (
        f"{points(found.difference)} points ({points(low)} to {points(high)}), p = {found.p:.2g}: of {found.n:,} "
        f"{MEASURED[found.kind]} {alone}"
    )


def text(runs: Sequence[Run]) -> str:
    """The table for a terminal, and below it each run beside the first one."""
    table = [["", *(run.name for run in runs)], *([row.name, *row.cells] for row in rows(runs))]
    wide = [max(len(line[at]) for line in table) for at in range(len(runs) + 1)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, wide, strict=True)).rstrip() for line in table]
    first = runs[0]
    beside = [f"{run.name} beside {first.name}: {verdict(paired(first, run), first, run)}" for run in runs[1:]]
    return "\n".join([*lines, "", *beside])


def _cell(cell: Callable[[Run], str], run: Run) -> str:
    try:
        return cell(run)
    except KeyError:  # a metric that is not known is absent
        return ""


def _gain(m: Mapping[str, float], what: str) -> str:
    mean, std = m[f"random_{what}_top1_mean"], m[f"random_{what}_top1_std"]
    return f"{points(m[f'{what}_top1'] - mean)} points on {share(mean)} ± {share(std)}"


# In the order in which a reader asks: how good, with a row for each way to know it, as they are not equal; how sure, at
# what cost; what the selection gained; how well the model knows itself; what the vectors alone would do.
ROWS: Sequence[tuple[str, str, Callable[[Run], str]]] = (
    ("right on test images", "top1", lambda run: _counted(run.metrics, "top1", "n_test_answered")),
    ("right on an audit", "audit_top1", lambda run: _counted(run.metrics, "audit_top1", "n_audit")),
    (
        "estimate from the labels",
        "estimated_top1",
        lambda run: _estimate(run.metrics) + _of_graph(run.methods["train"]),
    ),
    ("labels", "n_labels", lambda run: f"{run.metrics['n_labels']:,}"),
    ("classes with a label", "classes_covered", lambda run: _covered(run.metrics)),
    ("chosen by, trained by", "select.method, train.method", lambda run: ", ".join(run.methods.values())),
    ("seen by", "pretrain.backbone, ingest.size", lambda run: run.network),
    ("gain over random picks", "propagate_top1", lambda run: _gain(run.metrics, "propagate")),
    ("the same by a linear probe", "probe_top1", lambda run: _gain(run.metrics, "probe")),
    ("mean over classes", "macro_f1", lambda run: share(run.metrics["macro_f1"])),
    ("calibration error", "ece", lambda run: share(run.metrics["ece"])),
    ("vectors: nearest neighbours", "knn_top1", lambda run: share(run.metrics["knn_top1"])),
)


def _other_classes(first: Run, second: Run) -> str:
    """Of how many images without a label in either run they name another class."""
    shared = first.guess.keys() & second.guess.keys()
    differ = sum(first.guess[key] != second.guess[key] for key in shared)
    return f"; of {len(shared):,} images without a label they name another class for {differ:,}" if shared else ""


def _of_graph(method: str) -> str:
    """What an estimate is of, where that is not the model."""
    return "" if method == PROPAGATE else " of the graph, not of this model"


def _counted(m: Mapping[str, float], name: str, count: str) -> str:
    """A share that was counted, with its interval and of how many images."""
    return f"{share(m[name])} ({share(m[f'{name}_low'])} to {share(m[f'{name}_high'])}) of {m[count]:,}"


def _covered(m: Mapping[str, float]) -> str:
    return f"{m['classes_covered']}" + (f" of {m['classes_total']}" if "classes_total" in m else "")


def _estimate(m: Mapping[str, float]) -> str:
    if told_from(m) < FEW:
        return f"at least {share(m['estimated_top1_at_least'], 0)}"
    return (
        f"{share(m['estimated_top1'], 0)} ({share(m['estimated_top1_low'], 0)} to {share(m['estimated_top1_high'], 0)})"
    )
