"""The one figure of a run: accuracy that was measured, where it was on enough images, or else an estimate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.graph.estimate import FEW

PROPAGATE = "propagate"  # as `pipeline.train.methods` has it, which takes seconds to load
FEW_ANSWERS = 30  # of a test or an audit, below which an estimate says more: the interval is 35 points wide

Kind = Literal["test", "audit", "bound", "estimate"]


def kind_of(metrics: Mapping[str, float]) -> Kind:
    """Where the figure comes from: `bound` is the lower end of an estimate, all that fewer than `FEW` labels say."""
    if "top1" in metrics and (metrics["n_test_answered"] >= FEW_ANSWERS or "estimated_top1" not in metrics):
        return "test"
    if metrics.get("n_audit", 0) >= FEW_ANSWERS:
        return "audit"
    return "bound" if told_from(metrics) < FEW else "estimate"


def told_from(metrics: Mapping[str, float]) -> int:
    """How many labels an estimate comes from: those that were confirmed many at once tell nothing."""
    return int(metrics["n_labels"] - metrics.get("n_confirmed", 0))


@dataclass(frozen=True)
class Figure:
    """A share of right images in [0, 1] and its 95 % interval; of a bound, which is the share, it reaches up to 1."""

    kind: Kind
    share: float
    low: float
    high: float

    @classmethod
    def of(cls, metrics: Mapping[str, float]) -> "Figure":
        """That of a run's metrics."""
        kind = kind_of(metrics)
        if kind == "bound":
            return cls(kind, metrics["estimated_top1_at_least"], metrics["estimated_top1_at_least"], 1.0)
        name = {"test": "top1", "audit": "audit_top1", "estimate": "estimated_top1"}[kind]
        return cls(kind, *(metrics[f"{name}{end}"] for end in ("", "_low", "_high")))


def headline(metrics: Mapping[str, float], method: str) -> str:
    """The figure in one line, with its 95 % interval; an estimate is of propagation, whatever `method` has trained."""
    figure, other = Figure.of(metrics), ""
    if figure.kind in ("bound", "estimate") and method != PROPAGATE:
        other = f"{method} is not measured; with the labels spread over the graph "
    if figure.kind == "bound":
        return f"{other}probably at least {figure.share:.0%} of the images are right, by an estimate"
    answered, asked = metrics.get("n_audit", 0), metrics.get("n_audit_asked", 0)
    about = {
        "test": f"of {metrics.get('n_test_answered')} test images are right",
        "audit": f"of the unlabelled images are right, by an audit of {answered}"
        + f", {asked} asked" * (asked > answered),
        "estimate": "of the images are right, by an estimate from the labels",
    }[figure.kind]
    return f"{other}{figure.share:.1%} {about} (95 %: {figure.low:.1%} to {figure.high:.1%})"
