"""labels.csv and classes.json, matched to the rows of the training images."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Int64

from pipeline.artifacts.labels import Classes, Labels
from pipeline.base.errors import ArtifactError
from pipeline.train.targets import Targets

RowsOf = Callable[[Sequence[str]], Int64[np.ndarray, " m"]]


def match(labels: Labels, classes: Classes, rows_of: RowsOf) -> Targets:
    """The labels by row; `rows_of` gives the rows of keys. The classes are those of `classes` and those of the labels.

    A coarser level without any label is left out. Raises ArtifactError for a key that is no training image, or no label
    at all at the finest level.
    """
    labelled = {key: names for key, names in sorted(labels.rows.items()) if any(names)}
    if not any(names[0] for names in labelled.values()):
        raise ArtifactError("labels.csv: expected at least one label, got none")
    columns = {level: [names[i] for names in labelled.values()] for i, level in enumerate(labels.levels)}
    columns = {level: column for level, column in columns.items() if any(column)}
    names = {level: classes.union(level, column) for level, column in columns.items()}
    rows = torch.from_numpy(rows_of(list(labelled)))
    numbers = []
    for level, column in columns.items():
        number = {"": -1, **{name: i for i, name in enumerate(names[level])}}
        numbers.append([number[name] for name in column])
    return Targets(names, rows, torch.tensor(numbers).T.contiguous())
