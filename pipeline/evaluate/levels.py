"""Metrics of coarser levels of classes, and of other readouts of a model than the main one."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from pipeline.artifacts.labels import Labels
from pipeline.evaluate import accuracy

Parents = Mapping[str, Mapping[str, str]]  # of each coarser level: the class there of each finest class


def parents_in(*tables: Labels) -> dict[str, dict[str, str]]:
    """Which coarser class each finest class is below, as far as these tables have both in one row."""
    parents: dict[str, dict[str, str]] = {}
    for table in tables:
        for names in table.rows.values():
            for level, coarser in zip(table.levels[1:], names[1:], strict=True):
                if names[0] and coarser:
                    parents.setdefault(level, {}).setdefault(names[0], coarser)
    return parents


def class_sums(classes: Sequence[str], parent: Mapping[str, str]) -> tuple[list[str], Float[Tensor, "k g"]]:
    """The coarser classes above these, and a matrix that sums the probabilities of the classes below each.

    A class whose parent is not known is below none.
    """
    names = sorted({parent[name] for name in classes if name in parent})
    matrix = torch.zeros(len(classes), len(names))
    for i, name in enumerate(classes):
        if name in parent:
            matrix[i, names.index(parent[name])] = 1
    return names, matrix


def of_readout(
    readout: str, answers: Sequence[str], predictions: Sequence[str], confidence: Float[ndarray, " n"]
) -> dict[str, float | int]:
    """`<readout>_top1`, `_macro_f1` and `_ece` over the images that have an answer (not ""); nothing if none has."""
    answered = np.array([name != "" for name in answers])
    if not answered.any():
        return {}
    number = {name: i for i, name in enumerate(sorted({*answers, *predictions} - {""}))}
    truth = np.array([number[name] for name in answers if name])
    predicted = np.array([number[name] for name, answer in zip(predictions, answers, strict=True) if answer])
    return {
        f"{readout}_top1": accuracy.top1(truth, predicted),
        f"{readout}_macro_f1": accuracy.macro_f1(accuracy.confusion(truth, predicted, len(number))),
        f"{readout}_ece": accuracy.calibration(confidence[answered], truth == predicted).ece,
    }


def consistency(finest: Sequence[str], coarser: Sequence[str], parent: Mapping[str, str]) -> float | None:
    """The share of images whose coarser prediction is the class above the finest one; None where none is known."""
    agree = [parent[name] == above for name, above in zip(finest, coarser, strict=True) if name in parent]
    return float(np.mean(agree)) if agree else None
