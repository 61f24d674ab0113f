"""Coarser levels of classes, and other ways than the main one of reading a class from a model."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from pipeline.artifacts.labels import Labels
from pipeline.evaluate import accuracy

Parents = Mapping[str, Mapping[str, str]]  # of each coarser level: the class there of each finest class


def parents_in(*tables: Labels) -> dict[str, dict[str, str]]:
    """Which coarser class each finest class is below, as far as these tables have both in one row."""
    found: dict[str, dict[str, str]] = {}
    for table in tables:
        for names in table.rows.values():
            for level, coarser in zip(table.levels[1:], names[1:], strict=True):
                if names[0] and coarser:
                    found.setdefault(level, {}).setdefault(names[0], coarser)
    return found


def of_readout(
    readout: str, truth: Sequence[str], said: Sequence[str], sure: Float[ndarray, " n"]
) -> dict[str, float | int]:
    """`<readout>_top1`, `_macro_f1` and `_ece` over the images whose answer is known (not ""); nothing if none is."""
    told = np.array([name != "" for name in truth])
    if not told.any():
        return {}
    number = {name: i for i, name in enumerate(sorted({*truth, *said} - {""}))}
    answers = np.array([number[name] for name in truth if name])
    guesses = np.array([number[name] for name, there in zip(said, told, strict=True) if there])
    return {
        f"{readout}_top1": accuracy.top1(answers, guesses),
        f"{readout}_macro_f1": accuracy.macro_f1(accuracy.confusion(answers, guesses, len(number))),
        f"{readout}_ece": accuracy.calibration(sure[told], answers == guesses).ece,
    }


def consistency(finest: Sequence[str], coarser: Sequence[str], parent: Mapping[str, str]) -> float | None:
    """The share of images whose coarser prediction is the class above the finest one; None where none is known."""
    agree = [parent[name] == said for name, said in zip(finest, coarser, strict=True) if name in parent]
    return float(np.mean(agree)) if agree else None
