"""Two pictures of a classifier's mistakes as PNG files, the same bytes each time."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy import ndarray

from pipeline.evaluate.accuracy import Calibration

NAMED = 40  # classes, beyond which the axes bear no names and the cells no counts
INK, HUE = "#22252b", "#0e7c7b"


def confusion(file: Path, counts: Int64[ndarray, "k k"], classes: Sequence[str]) -> None:
    """Draws the share of each answer (row) that was called each class (column); the counts are in the cells."""
    k = len(classes)
    side = min(12.0, 2.2 + 0.42 * k)
    figure = Figure(figsize=(side, side), dpi=120, layout="constrained")
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="GnBu", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="answer", xticks=[], yticks=[])
    if k <= NAMED:
        names = [_literal(name) for name in classes]
        axes.set_xticks(range(k), names, rotation=90)
        axes.set_yticks(range(k), names)
        for i, j in zip(*counts.nonzero(), strict=True):
            ink = "white" if share[i, j] > 0.6 else INK
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=7, color=ink)
    _save(figure, file)


def reliability(file: Path, found: Calibration) -> None:
    """Draws the accuracy in each bin of confidence beside the diagonal of a perfectly honest model, and the counts."""
    figure = Figure(figsize=(5, 5.6), dpi=120, layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    m = len(found.count)
    middle = (np.arange(m) + 0.5) / m
    top.bar(middle, np.nan_to_num(found.accuracy), width=0.9 / m, color=HUE)
    top.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle="--")
    top.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title=f"expected calibration error {found.ece:.3f}")
    bottom.bar(middle, found.count, width=0.9 / m, color=INK)
    bottom.set(xlabel="confidence", ylabel="images")
    _save(figure, file)


def _literal(name: str) -> str:
    return name.replace("$", r"\$")  # matplotlib would set it as a formula


def _save(figure: Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # matplotlib's own font lacks some scripts; the report's page shows such names as they are.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(file, metadata={"Software": None})
