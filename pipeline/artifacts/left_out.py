"""`left_out.csv`: what all other labels say of each labelled image, its own left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from pipeline.base.files import number, read_csv, write_csv


@dataclass(frozen=True)
class SaidWithout:
    """Of each key its label, the class that the others give it, and how probable that is.

    Only labels whose class has another label are in it: no other can be found without its own.
    """

    keys: Sequence[str]
    labels: Sequence[str]
    said: Sequence[str]
    confidence: Float[ndarray, " n"]

    def write(self, file: Path) -> None:
        """Writes `key,label,said,confidence`."""
        shares = [f"{share:.6g}" for share in self.confidence.tolist()]
        write_csv(
            file, ("key", "label", "said", "confidence"), zip(self.keys, self.labels, self.said, shares, strict=True)
        )

    @classmethod
    def read(cls, file: Path) -> "SaidWithout":
        rows = read_csv(file, ("key", "label", "said", "confidence"))[1]
        shares = np.array([number(file, row[3]) for row in rows], np.float64)
        return cls([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows], shares)
