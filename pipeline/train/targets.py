"""The few labels, matched to the rows of the training images and to the outputs of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from pipeline.artifacts.labels import Classes, Labels
from pipeline.base.errors import ArtifactError


@dataclass(frozen=True)
class Targets:
    """Row `rows[i]` of the images has the class number `labels[i, l]` at level l, finest first; -1 is not known."""

    names: Mapping[str, Sequence[str]]  # classes of each level that some label speaks of
    rows: Int64[Tensor, " m"]
    labels: Int64[Tensor, "m l"]

    @property
    def classes(self) -> Sequence[str]:
        """The finest classes."""
        return self.names["label"]

    @property
    def reached(self) -> Int64[Tensor, " r"]:
        """The numbers of the finest classes that have a label, in order."""
        return self.labels[self.labels[:, 0] >= 0, 0].unique()

    @property
    def unreached(self) -> list[str]:
        """The finest classes that have no label at all."""
        reached = set(self.reached.tolist())
        return [name for i, name in enumerate(self.classes) if i not in reached]

    def finest(self) -> "Targets":
        """The finest level alone, without the images that have a label at a coarser level only."""
        known = self.labels[:, 0] >= 0
        return Targets({"label": self.classes}, self.rows[known], self.labels[known, :1])

    @classmethod
    def match(cls, labels: Labels, classes: Classes, keys: Sequence[str]) -> "Targets":
        """Joins on the key. Where no class is known beforehand, the classes are those that the labels name, sorted.

        A coarser level without any label is left out. Raises ArtifactError for a key that is no training image, a class
        that is not known, or no label at all at the finest level.
        """
        known = {key: row for row, key in enumerate(keys)}
        named = {key: names for key, names in sorted(labels.rows.items()) if any(names)}
        if not any(names[0] for names in named.values()):
            raise ArtifactError("labels.csv: expected at least one label, got none")
        columns = {level: [names[i] for names in named.values()] for i, level in enumerate(labels.levels)}
        columns = {level: column for level, column in columns.items() if any(column)}
        names = {level: classes.names.get(level) or sorted({*column} - {""}) for level, column in columns.items()}
        for key in named:
            if key not in known:
                raise ArtifactError(f"labels.csv: key {key}: expected a training image, found none of that key")
        numbers = []
        for level, column in columns.items():
            number = {"": -1, **{name: i for i, name in enumerate(names[level])}}
            for key, name in zip(named, column, strict=True):
                if name not in number:
                    raise ArtifactError(f"labels.csv: key {key}: expected a class of classes.json, got {name!r}")
            numbers.append([number[name] for name in column])
        return cls(names, torch.tensor([known[key] for key in named]), torch.tensor(numbers).T.contiguous())
