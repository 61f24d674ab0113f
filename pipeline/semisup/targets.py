"""The few labels, matched to the rows of the training images and to the outputs of a model."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from pipeline.artifacts import Classes, Labels
from pipeline.errors import ArtifactError


@dataclass(frozen=True)
class Targets:
    """Row `rows[i]` of the images has the class number `labels[i]`; `unreached` classes have no label at all."""

    classes: Sequence[str]
    rows: Sequence[int]
    labels: Int64[Tensor, " m"]
    unreached: Sequence[str]

    @classmethod
    def match(cls, labels: Labels, classes: Classes, keys: Sequence[str]) -> "Targets":
        """Joins on the key. Where no class is known beforehand, the classes are those that the labels name, sorted.

        Raises ArtifactError for a key that is no training image, a class that is not known, or no label at all.
        """
        known = {key: row for row, key in enumerate(keys)}
        named = {key: names[0] for key, names in sorted(labels.rows.items()) if names[0]}
        if not named:
            raise ArtifactError("labels.csv: expected at least one label, got none")
        names = list(classes.names.get("label", [])) or sorted(set(named.values()))
        for key, name in named.items():
            if key not in known:
                raise ArtifactError(f"labels.csv: key {key}: expected a training image, found none of that key")
            if name not in names:
                raise ArtifactError(f"labels.csv: key {key}: expected a class of classes.json, got {name!r}")
        numbers = [names.index(name) for name in named.values()]
        unreached = [name for name in names if name not in set(named.values())]
        return cls(names, [known[key] for key in named], torch.tensor(numbers), unreached)
