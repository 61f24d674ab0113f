"""The page's tables: class by class, who is taken for whom, and records as flat rows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from pipeline.evaluate import accuracy
from pipeline.report.inputs import Run

SQUARES = 25  # classes, beyond which the confusion matrix gives way to the list of the most frequent mistakes
ROWS = 50  # of the table of classes
APART = {"knn", "probe", "propagate", "estimated", "audit"}  # no readouts of the model


@dataclass(frozen=True)
class ClassRow:
    """A class: its labels, answers and predictions; the share of its answers that are found, None without any."""

    name: str
    labels: int
    images: int
    predicted: int
    recall: float | None
    taken_for: str  # the most frequent mistake, "" where there is none
    shares: tuple[float, float]  # of the training images, as propagation assumed and found them


def class_rows(run: Run, label: Mapping[str, str]) -> list[ClassRow]:
    """Every class in order or, of more than 50, those with the least recall."""
    counts = _confusion(run)
    recall = accuracy.recall(counts)
    given, predicted = Counter(label.values()), Counter(run.guesses.predictions)
    rows = []
    for i, name in enumerate(run.classes):
        wrong = counts[i].copy()
        wrong[i] = 0
        share = None if np.isnan(recall[i]) else float(recall[i])
        shares = run.class_shares.get(name, (0.0, 0.0))
        taken_for = run.classes[int(wrong.argmax())] if wrong.any() else ""
        rows.append(ClassRow(name, given[name], int(counts[i].sum()), predicted[name], share, taken_for, shares))
    if len(rows) > ROWS:
        rows = sorted(rows, key=lambda row: 2.0 if row.recall is None else row.recall)[:ROWS]
    return rows


def squares(run: Run) -> list[list[tuple[int, float]]]:
    """The confusion matrix as (count, share of the row); empty where there are too many classes or no answers."""
    counts = _confusion(run)
    if not counts.any() or len(run.classes) > SQUARES:
        return []
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return [list(zip(*pair, strict=True)) for pair in zip(counts.tolist(), (counts / total).tolist(), strict=True)]


def mixups(run: Run, most: int = 12) -> list[tuple[str, str, int]]:
    """The most frequent mistakes as (answer, prediction, images)."""
    counts = _confusion(run)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = [(int(at) // len(counts), int(at) % len(counts)) for at in order]
    return [(run.classes[i], run.classes[j], int(counts[i, j])) for i, j in pairs if counts[i, j]]


def readouts(metrics: Mapping[str, float | int]) -> list[tuple[str, dict[str, float | int]]]:
    """Coarser levels and other readouts of the model, each with those of its metrics that are known."""
    kinds = ("top1", "macro_f1", "ece", "consistency")
    names = dict.fromkeys(
        name.removesuffix(f"_{kind}") for name in metrics for kind in kinds if name.endswith(f"_{kind}")
    )
    values = {
        name: {kind: metrics[f"{name}_{kind}"] for kind in kinds if f"{name}_{kind}" in metrics}
        for name in names
        if name not in APART and not name.startswith("forecast_")
    }
    return [(name, row) for name, row in values.items() if row]


def flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """A nested record as dotted names and short text; of a list with more than eight values, their number."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{before}{key}.")
        elif isinstance(value, list) and len(value) > 8:
            rows.append((before + key, f"{len(value)} values"))
        elif isinstance(value, float):
            rows.append((before + key, f"{value:.6g}"))
        else:
            rows.append((before + key, ", ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return rows


def _confusion(run: Run) -> Int64[ndarray, "k k"]:
    number = {name: i for i, name in enumerate(run.classes)}
    p = run.guesses
    answers = np.array([number[name] if name else -1 for name in p.answers], dtype=np.int64)
    predicted = np.array([number.get(name, -1) for name in p.predictions], dtype=np.int64)
    answered = (answers >= 0) & (predicted >= 0)
    return accuracy.confusion(answers[answered], predicted[answered], len(number))
