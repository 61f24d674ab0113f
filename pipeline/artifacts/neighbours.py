"""`rows.npy` and `sq_dist.npy`: the nearest other training images of each training image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32
from numpy import ndarray

from pipeline.base.errors import ArtifactError, first_line
from pipeline.base.files import whole_file


@dataclass(frozen=True)
class Neighbours:
    """The k nearest of each row among the others, nearest first, and their squared distances.

    Where the search found fewer than k, the row is -1 and the distance inf.
    """

    rows: Int32[ndarray, "n k"]
    sq_dist: Float32[ndarray, "n k"]

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.rows)

    def write(self, folder: Path) -> None:
        """Writes both files into an existing folder."""
        for name, table in (("rows", self.rows), ("sq_dist", self.sq_dist)):
            with whole_file(folder / f"{name}.npy") as part, part.open("wb") as opened:
                np.save(opened, table)

    @classmethod
    def read(cls, folder: Path, num_images: int) -> "Neighbours":
        """Reads both files. Raises ArtifactError where they are not what the stage `graph` wrote of so many images."""
        try:
            rows, sq_dist = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("rows", "sq_dist"))
        except (OSError, ValueError) as error:
            raise ArtifactError(f"{folder}: expected what the stage graph writes, got: {first_line(error)}") from error
        if rows.ndim != 2 or rows.shape != sq_dist.shape or not rows.size:
            raise ArtifactError(f"{folder}: expected two tables of one shape, got {rows.shape} and {sq_dist.shape}")
        if not -1 <= rows.min() <= rows.max() < len(rows):
            raise ArtifactError(f"{folder}: expected rows below {len(rows)}, got {rows.min()} to {rows.max()}")
        if len(rows) != num_images:
            raise ArtifactError(
                f"{folder}: expected neighbours of the {num_images} training images, got {len(rows)}; "
                "`dvc repro -f graph` makes them anew"
            )
        return cls(rows.astype(np.int32, copy=False), sq_dist.astype(np.float32, copy=False))
