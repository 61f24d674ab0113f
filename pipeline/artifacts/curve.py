"""`curve.csv`: loss and other scalars by step of a training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from pipeline.base.errors import ArtifactError
from pipeline.base.files import number, read_csv, write_csv


def write_rows(file: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Writes a curve: a column for each name, `step` first; numbers with nine significant digits."""
    names = list(dict.fromkeys(("step", "loss", "learning_rate", *(name for row in rows for name in row))))
    write_csv(file, names, [[f"{row[name]:.9g}" if name in row else "" for name in names] for row in rows])


def read_rows(file: Path) -> dict[str, Float[ndarray, " n"]]:
    """The columns of a curve that `write_rows` wrote, by name; NaN where a row has no value, nothing of no curve."""
    header, body = read_csv(file, ())
    if header[:1] not in ([], ["step"]):
        raise ArtifactError(f"{file}: expected the column step first, got {header[0]}")
    columns = zip(*body, strict=True) if body else [()] * len(header)
    return {
        name: np.array([number(file, value) if value else np.nan for value in column], dtype=np.float64)
        for name, column in zip(header, columns, strict=True)
    }
