"""`predictions.csv` and `pseudo_labels.csv`: what a model says of images, and how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from pipeline.base.files import number, read_csv, write_csv


@dataclass(frozen=True)
class Predictions:
    """`predictions.csv`: each key of a split, sorted, its answer ("" is unknown), what the model says, how sure it is.

    Names of classes as strings; confidence is the probability of the predicted class, in [0, 1].
    """

    keys: Sequence[str]
    answers: Sequence[str]
    predictions: Sequence[str]
    confidence: Float[ndarray, " n"]

    def write(self, file: Path) -> None:
        """Writes `key,answer,prediction,confidence`; nine digits give a float32 back as it was."""
        sure = [f"{value:.9g}" for value in self.confidence]
        rows = zip(self.keys, self.answers, self.predictions, sure, strict=True)
        write_csv(file, ("key", "answer", "prediction", "confidence"), rows)

    @classmethod
    def read(cls, file: Path) -> "Predictions":
        """Reads the table."""
        rows = read_csv(file, ("key", "answer", "prediction", "confidence"))[1]
        keys, answers, predictions, sure = (
            (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
        )
        return cls(keys, answers, predictions, np.array([number(file, value) for value in sure], dtype=np.float64))


@dataclass(frozen=True)
class PseudoLabels:
    """`pseudo_labels.csv`: what the model says of every training image that has no label, and how sure it is."""

    keys: Sequence[str]
    predictions: Sequence[str]
    confidence: Float[ndarray, " n"]

    def write(self, file: Path) -> None:
        """Writes `key,prediction,confidence`."""
        sure = [f"{value:.9g}" for value in self.confidence]
        write_csv(file, ("key", "prediction", "confidence"), zip(self.keys, self.predictions, sure, strict=True))
