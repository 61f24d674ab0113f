"""`picks.csv`: which images to label."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from pipeline.base.files import check_once, number, read_csv, write_csv


@dataclass(frozen=True)
class Selection:
    """`picks.csv`: the images to label, best first. The selector defines what a score means."""

    keys: Sequence[str]
    scores: Float[ndarray, " b"]

    def __post_init__(self) -> None:
        check_once(self.keys, "picks.csv")

    def write(self, file: Path) -> None:
        """Writes `rank,key,score`, rank from 0."""
        rows = [
            (rank, key, f"{score:.6g}") for rank, (key, score) in enumerate(zip(self.keys, self.scores, strict=True))
        ]
        write_csv(file, ("rank", "key", "score"), rows)

    @classmethod
    def read(cls, file: Path) -> "Selection":
        """Reads the picks in rank order."""
        rows = read_csv(file, ("rank", "key", "score"))[1]
        return cls([row[1] for row in rows], np.array([number(file, row[2]) for row in rows], dtype=np.float64))
