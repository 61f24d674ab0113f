"""The page: what is shown of a run, and the template that shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from pipeline.evaluate import accuracy
from pipeline.evaluate.metrics import absent, finest
from pipeline.report import plots, tables
from pipeline.report.run import Run
from pipeline.shards.pictures import Picture

PICTURE_SIDE = 112  # pixels of the longer side of a picture, at most


@dataclass(frozen=True)
class Guess:
    """One test image: what the model says, what it is ("" is unknown), and how sure the model is, in [0, 1]."""

    key: str
    answer: str
    prediction: str
    confidence: float


@dataclass(frozen=True)
class Shown:
    """The images on the page: picks by rank; confident mistakes, surest first; right ones, evenly from sure to unsure.

    Where no test image has an answer, `sure` and `unsure` hold both ends of all predictions instead.
    """

    picks: Sequence[str]
    mistakes: Sequence[Guess]
    right: Sequence[Guess]
    sure: Sequence[Guess]
    unsure: Sequence[Guess]

    @classmethod
    def choose(cls, run: Run, limit: int) -> "Shown":
        """At most `limit` picks, and half as many of each other kind."""
        p = run.predictions
        rows = zip(p.keys, p.answers, p.predictions, p.confidence.tolist(), strict=True)
        guesses = sorted((Guess(*row) for row in rows), key=lambda guess: (-guess.confidence, guess.key))
        told = [guess for guess in guesses if guess.answer]
        right = [guess for guess in told if guess.answer == guess.prediction]
        half = max(1, limit // 2)
        spread = np.linspace(0, len(right) - 1, min(half, len(right))).round().astype(int)
        ends = ([], []) if told else (guesses[:half], guesses[: -half - 1 : -1])
        mistakes = [guess for guess in told if guess.answer != guess.prediction]
        return cls(run.picks.keys[:limit], mistakes[:half], [right[i] for i in spread], *ends)

    def keys(self) -> set[str]:
        """Every image that is shown."""
        guesses = [*self.mistakes, *self.right, *self.sure, *self.unsure]
        return {*self.picks, *(guess.key for guess in guesses)}


def render(run: Run, shown: Shown, pictures: Mapping[str, Picture], seed: int) -> str:
    """The page as HTML; `pictures` are those of `shown.keys()`. Names and paths of the user are escaped."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"percent": plots.percent, "flat": tables.flat}
    label = finest(run.labels)
    return env.get_template("page.html").render(
        run=run,
        shown=shown,
        pictures=pictures,
        seed=seed,
        m=run.metrics,
        label=label,
        named={key: next((name for name in names if name), "") for key, names in run.labels.rows.items()},
        readouts=tables.readouts(run.metrics),
        absent=absent(run.metrics),
        charts=charts(run),
        rows=tables.class_rows(run, label),
        squares=tables.squares(run),
        mixups=tables.mixups(run),
    )


def charts(run: Run) -> dict[str, Any]:
    """The SVGs of the page by name; those that need what is unknown are absent."""
    found: dict[str, Any] = {
        stage: {name: plots.lines(curve["step"], y, name) for name, y in curve.items() if _drawn(name, y)}
        for stage, curve in run.curves.items()
    }
    if run.draws and "probe_top1" in run.metrics:
        found["strip"] = plots.strip(run.draws, run.metrics["probe_top1"])
    told = np.array([answer != "" for answer in run.predictions.answers], dtype=bool)
    if told.any():
        right = np.array(run.predictions.answers) == np.array(run.predictions.predictions)
        found["reliability"] = plots.reliability(accuracy.calibration(run.predictions.confidence[told], right[told]))
    return found


def _drawn(name: str, y: Any) -> bool:
    return name != "step" and int(np.isfinite(y).sum()) > 1
