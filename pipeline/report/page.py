"""The page: what is shown of a run, and the template that shows it."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.typed import begin, here, home
from pipeline.evaluate import accuracy
from pipeline.evaluate.headline import kind_of, told_from
from pipeline.evaluate.metrics import absent, finest
from pipeline.evaluate.propagated import DRAWS
from pipeline.graph.estimate import FEW
from pipeline.report import advice, names, plots, tables
from pipeline.report.changes import SHOWN, Change
from pipeline.report.inputs import Run
from pipeline.report.rounds import NOW
from pipeline.report.templates import templates
from pipeline.shards.pictures import Picture

PICTURE_SIDE = 112  # pixels of the longer side of a picture, at most


@dataclass(frozen=True)
class Prediction:
    """One image: its answer ("" is unknown), the predicted class, and the confidence in [0, 1]."""

    key: str
    answer: str
    prediction: str
    confidence: float


@dataclass(frozen=True)
class Shown:
    """The images on the page: picks by rank; mistakes, the most confident first; right ones, evenly by confidence.

    Where no image has an answer, `most_confident` and `least_confident` are both ends of all predictions.
    """

    picks: Sequence[str]
    mistakes: Sequence[Prediction]
    right: Sequence[Prediction]
    most_confident: Sequence[Prediction]
    least_confident: Sequence[Prediction]
    changed: Sequence[Change]

    @classmethod
    def choose(cls, run: Run, limit: int) -> "Shown":
        """At most `limit` picks, and half as many of each other kind."""
        p = run.guesses
        rows = zip(p.keys, p.answers, p.predictions, p.confidence.tolist(), strict=True)
        ordered = sorted((Prediction(*row) for row in rows), key=lambda one: (-one.confidence, one.key))
        answered = [one for one in ordered if one.answer]
        right = [one for one in answered if one.answer == one.prediction]
        half = max(1, limit // 2)
        spread = np.linspace(0, len(right) - 1, min(half, len(right))).round().astype(int)
        ends = ([], []) if answered else (ordered[:half], ordered[: -half - 1 : -1])
        mistakes = [one for one in answered if one.answer != one.prediction]
        changed = run.changes.found[:SHOWN] if run.changes else []
        return cls(run.picks.keys[:limit], mistakes[:half], [right[i] for i in spread], *ends, changed)

    def keys(self) -> set[str]:
        """Every image that is shown."""
        predicted = [*self.mistakes, *self.right, *self.most_confident, *self.least_confident]
        return {*self.picks, *(one.key for one in predicted), *(one.key for one in self.changed)}


def render(run: Run, shown: Shown, pictures: Mapping[str, Picture], seed: int, links: Mapping[str, str]) -> str:
    """The page as HTML; `pictures` are those of `shown.keys()`, `links` lead to files, each with its words."""
    label, kind, known, drawn = finest(run.labels), kind_of(run.metrics), absent(run.metrics), charts(run)
    answered, levels = any(run.guesses.answers), tables.readouts(run.metrics)
    kept = bool(run.rounds) and run.rounds[-1].name != NOW
    typed = here()
    sections = {
        "absent": ("What is not known", known),
        "expect": ("What to expect", True),
        "rounds": ("Round by round", run.rounds),
        "changed": ("What changed", run.since),
        "bought": ("What the selection bought", "strip" in drawn),
        "picks": ("The images that were labelled", True),
        "classes": ("Class by class", True),
        "readouts": ("Level by level", levels),
        "mistakes": ("Where it goes wrong", answered),
        "predictions": ("Predictions", not answered),
        "curves": ("How the training went", any(drawn.get(stage) for stage in run.curves)),
        "run": ("What was run", True),
    }
    return (
        templates()
        .get_template("page.html")
        .render(
            run=run,
            shown=shown,
            pictures=pictures,
            seed=seed,
            m=run.metrics,
            few=told_from(run.metrics) < FEW,
            kind=kind,
            tested=tested(run.metrics),
            label=label,
            spread_draws=DRAWS,
            which="test images" if run.predictions.keys else "images without a label",
            answered=answered,
            guessed=sum(bool(name) for name in run.pseudo_labels.ranking.best) if run.pseudo_labels else 0,
            any_label={key: next((name for name in names if name), "") for key, names in run.labels.rows.items()},
            readouts=levels,
            absent=known,
            cure=advice.cures(run.metrics, typed),
            begin=begin(home(Path.cwd()), Path(sys.prefix)),
            typed=typed,
            curve_words=names.CURVES,
            steps=advice.steps(
                kind,
                run.metrics,
                run.missing,
                kept,
                run.about["train"].get("unreached", []),
                typed,
                git=Path(".git").exists(),
            ),
            sections=[(name, words) for name, (words, there) in sections.items() if there],
            links=links.items(),
            times=run.times,
            charts=drawn,
            rows=tables.class_rows(run, label),
            squares=tables.squares(run),
            mixups=tables.mixups(run),
        )
    )


def tested(metrics: Mapping[str, float]) -> str:
    """Why an estimate is the headline."""
    if metrics.get("n_audit"):
        count, right = int(metrics["n_audit"]), plots.percent(metrics["audit_top1"])
        return f"Only {count} images of the audit have a label; {right} of them are right, which says little."
    if not metrics["n_test"]:
        return "No image is held out for a test; label.audit asks for the labels of random images, to measure."
    if "top1" not in metrics:
        return "No test image has an answer."
    count, right = int(metrics["n_test_answered"]), plots.percent(metrics["top1"])
    return f"Only {count} test images have an answer; {right} of them are right, which says little."


def charts(run: Run) -> dict[str, Any]:
    """The SVGs of the page by name; those that need what is unknown are absent."""
    by_name: dict[str, Any] = {
        stage: {name: plots.lines(curve["step"], y, name) for name, y in curve.items() if _has_points(name, y)}
        for stage, curve in run.curves.items()
    }
    if run.draws and "probe_top1" in run.metrics:
        by_name["strip"] = plots.strip(run.draws, run.metrics["probe_top1"])
    answers, p = np.array(run.guesses.answers), run.guesses
    answered = answers != ""
    if answered.any():
        right = answers == np.array(p.predictions)
        bins = accuracy.calibration(p.confidence[answered], right[answered])
        by_name["reliability"] = plots.reliability(bins)
    return by_name


def _has_points(name: str, y: Any) -> bool:
    return name != "step" and int(np.isfinite(y).sum()) > 1
