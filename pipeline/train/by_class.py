"""Labelled images class by class, where some classes have one label and others none."""

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from pipeline.base import rng
from pipeline.shards.order import Order
from pipeline.train.targets import Targets


class ByClass:
    """An endless sequence of label numbers in which every class that has a label comes equally often.

    Each round has every class once, in an order of its own; a class's images take turns. An image with a coarse label
    only counts for a class of that level. As `Order`, it is a function of (seed, place).
    """

    def __init__(self, targets: Targets, seed: int, *names: str) -> None:
        labels = targets.labels.numpy()
        level = (labels >= 0).argmax(axis=1)  # the finest that is labelled
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

    A class with fewer labels gives some of them several times, a class without any gives none. Of more than
    `most_classes` classes so many are drawn. So every step has the same number of supports.
    """
    chance = rng.stream(seed, "train", "supports", step)
    labels = targets.labels[:, 0].numpy()
    sorted_by_class = labels.argsort(kind="stable")[(labels < 0).sum() :]
    groups = np.split(sorted_by_class, np.flatnonzero(np.diff(labels[sorted_by_class])) + 1)
    if len(groups) > most_classes:
        groups = [groups[i] for i in np.sort(chance.choice(len(groups), most_classes, replace=False))]
    chosen = []
    for rows in groups:
        times, rest = divmod(per_class, len(rows))
        # Each label comes as often as any other of its class, or once more.
        chosen.append(np.concatenate([np.tile(rows, times), chance.permutation(rows)[:rest]]))
    return np.concatenate(chosen)
