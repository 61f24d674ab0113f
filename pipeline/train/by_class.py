"""Labelled images class by class, where some classes have one label and others none."""

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from pipeline.base import rng
from pipeline.shards.order import Order
from pipeline.train.targets import Targets


class ByClass:
    """An endless sequence of label numbers in which every class that has a label comes equally often.

    Classes come in turn, each round of them in an order of its own, and a class's images in turn within it. An image
    that is labelled at a coarser level only counts for a class of that level. As `Order`, it is a function of
    (seed, place).
    """

    def __init__(self, targets: Targets, seed: int, *names: str) -> None:
        labels = targets.labels.numpy()
        level = (labels >= 0).argmax(axis=1)  # the finest that is known
        group = level * (labels.max() + 1) + np.take_along_axis(labels, level[:, None], axis=1)[:, 0]
        self._rows = [np.flatnonzero(group == g) for g in np.unique(group)]
        self._groups = Order(len(self._rows), seed, *names, "classes")
        self._within = [Order(len(rows), seed, *names, f"class {i}") for i, rows in enumerate(self._rows)]

    def batch(self, step: int, size: int) -> Int64[ndarray, " b"]:
        """The numbers of the labels (0 to m - 1) at places step * size to (step + 1) * size."""
        turns = (np.arange(size) + step * size) // len(self._rows)
        groups = self._groups.batch(step, size)
        return np.array(
            [self._rows[g][self._within[g].batch(turn, 1)[0]] for g, turn in zip(groups, turns.tolist(), strict=True)]
        )


def supports(targets: Targets, per_class: int, most_classes: int, seed: int, step: int) -> Int64[ndarray, " s"]:
    """Label numbers of a step's supports: `per_class` images of each class, drawn anew, class after class.

    A class with fewer labels gives some of them several times, a class without any gives none; of more than
    `most_classes` classes so many are drawn. So there are as many supports at every step.
    """
    chance = rng.stream(seed, "train", "supports", step)
    labels = targets.labels[:, 0].numpy()
    known = labels.argsort(kind="stable")[(labels < 0).sum() :]
    groups = np.split(known, np.flatnonzero(np.diff(labels[known])) + 1)
    if len(groups) > most_classes:
        groups = [groups[i] for i in np.sort(chance.choice(len(groups), most_classes, replace=False))]
    found = []
    for rows in groups:
        whole, rest = divmod(per_class, len(rows))
        # Each label as often as any other, up to one.
        found.append(np.concatenate([np.tile(rows, whole), chance.permutation(rows)[:rest]]))
    return np.concatenate(found)
