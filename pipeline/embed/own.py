"""Vectors of the user's own, such as those of a second network, as one more view."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from numpy import ndarray

from pipeline.artifacts.shards import Column
from pipeline.artifacts.vectors import read_keyed
from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_text


class Own:
    """The vectors in a file, by the rows of the index whose keys are given; rows of other keys are ignored.

    Parquet has a column `key`; other files have a text file of the same name beside them, `.txt`, with a key a line.
    Raises ArtifactError where a key has no vector or stands twice.
    """

    def __init__(self, file: Path, keys: Sequence[str]) -> None:
        found, self.vectors = read_keyed(file)
        where = file
        if found is None:
            where = Path(re.sub(r"\.npz:.*$", ".npz", str(file))).with_suffix(".txt")
            found = read_text(where).split()
        if len(found) != len(self.vectors):
            raise ArtifactError(f"{where}: expected {len(self.vectors)} keys, one a vector of {file}, got {len(found)}")
        order = np.array(sorted(range(len(found)), key=found.__getitem__), np.int64)
        column = Column(found[row] for row in order.tolist())
        for before, after in zip(order[:-1].tolist(), order[1:].tolist(), strict=True):
            if found[before] == found[after]:
                raise ArtifactError(f"{where}: key {found[after]}: expected each key once, got it twice")
        self.rows = order[column.rows_of(keys, str(where), "a vector for each image")]

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return self.vectors.shape[1]

    def of(self, rows: Int64[ndarray, " b"]) -> Float32[ndarray, "b d"]:
        """The vectors of these rows of the index, of unit length; a vector of zeros stays one."""
        return F.normalize(torch.from_numpy(self.vectors[self.rows[rows]]), dim=1).numpy()
