"""The confusion matrix as a PNG file, the same bytes each time. The report's page draws all else."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy import ndarray

NAMED = 40  # classes, beyond which the axes bear no names and the cells no counts
INK = "#22252b"


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
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # matplotlib's own font lacks some scripts; the report's page shows such names as they are.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(file, metadata={"Software": None})


def _literal(name: str) -> str:
    return name.replace("$", r"\$")  # matplotlib would set it as a formula
