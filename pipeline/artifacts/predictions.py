"""`predictions.csv` and `pseudo_labels.csv`: the class that a model predicts for each image, and its confidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from pipeline.base.files import number, read_csv, write_csv


@dataclass(frozen=True)
class Predictions:
    """`predictions.csv`: each key of a split, sorted, with its answer ("" is unknown) and the predicted class.

    Confidence is the probability of the predicted class, in [0, 1].
    """

    keys: Sequence[str]
    answers: Sequence[str]
    predictions: Sequence[str]
    confidence: Float[ndarray, " n"]

    def write(self, file: Path) -> None:
        """Writes `key,answer,prediction,confidence`; nine digits give a float32 back as it was."""
        confidence = [f"{value:.9g}" for value in self.confidence]
        rows = zip(self.keys, self.answers, self.predictions, confidence, strict=True)
        write_csv(file, ("key", "answer", "prediction", "confidence"), rows)

    @classmethod
    def read(cls, file: Path) -> "Predictions":
        rows = read_csv(file, ("key", "answer", "prediction", "confidence"))[1]
        confidence = np.array([number(file, row[3]) for row in rows], dtype=np.float64)
        return cls([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows], confidence)


@dataclass(frozen=True)
class PseudoLabels:
    """`pseudo_labels.csv`: the class that a model predicts for each training image without a label."""

    keys: Sequence[str]
    predictions: Sequence[str]
    confidence: Float[ndarray, " n"]

    def write(self, file: Path) -> None:
        """Writes `key,prediction,confidence`."""
        confidence = [f"{value:.9g}" for value in self.confidence]
        write_csv(file, ("key", "prediction", "confidence"), zip(self.keys, self.predictions, confidence, strict=True))
