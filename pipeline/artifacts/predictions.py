"""`predictions.csv` and `pseudo_labels.csv`: the classes that a model thinks most probable for each image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64
from numpy import ndarray

from pipeline.base.files import number, read_csv, write_csv

SURE = 0.5  # the least confidence of a prediction that is no guess, if it is twice that of the next class too
TOP = 3  # classes of an image that are written
COLUMNS = ("prediction", "confidence", "second", "second_confidence", "third", "third_confidence")


def columns(most: int) -> tuple[str, ...]:
    """The columns of so many classes in a table for a person: `COLUMNS` with class as the first, then 4th and so on.

    There a row has one class, which may be a label; beside an answer it is a prediction. After its confidence comes the
    status.
    """
    more = (name for place in range(TOP + 1, most + 1) for name in (f"{place}th", f"{place}th_confidence"))
    return ("class", COLUMNS[1], "status", *COLUMNS[2 : 2 * most], *more)


def top(p: Float[ndarray, "b k"], most: int = TOP) -> tuple[Int64[ndarray, "b t"], Float[ndarray, "b t"]]:
    """The most probable classes of each row, best first, and how probable they are; of equal ones the first."""
    rest, each = p.copy(), np.arange(len(p))
    classes = np.empty((len(p), min(most, p.shape[1])), np.int64)
    for place in range(classes.shape[1]):
        classes[:, place] = rest.argmax(axis=1)
        rest[each, classes[:, place]] = -np.inf
    return classes, np.take_along_axis(p, classes, axis=1)


@dataclass(frozen=True)
class Ranking:
    """The most probable classes of n images, best first, and their probabilities, in [0, 1].

    A row has t names, or none, with zeros, where the image has no prediction.
    """

    names: Sequence[Sequence[str]]
    p: Float[ndarray, "n t"]

    @classmethod
    def of(cls, numbers: Int64[ndarray, "n t"], p: Float[ndarray, "n t"], classes: Sequence[str]) -> "Ranking":
        """That of what `top` gives, less what is impossible."""
        count = np.maximum((p > 0).sum(axis=1), 1).tolist()
        names = [[classes[i] for i in row[:n]] for row, n in zip(numbers.tolist(), count, strict=True)]
        return cls(names, p.astype(np.float64))

    @property
    def best(self) -> list[str]:
        """The prediction: the most probable class of each image, "" where there is none."""
        return [row[0] if row else "" for row in self.names]

    @property
    def confidence(self) -> Float[ndarray, " n"]:
        """The probability of the prediction."""
        return self.p[:, 0]

    def statuses(self, least: float | None = None) -> list[str]:
        """`predicted` or `unsure` of each image: by `least`, a confidence, or else by `SURE`."""
        second = self.p[:, 1] if self.p.shape[1] > 1 else 0.0
        by_rule = (self.confidence >= SURE) & (self.confidence >= 2 * second)
        sure = by_rule if least is None else self.confidence >= least
        return ["predicted" if good else "unsure" for good in sure.tolist()]

    def cells(self, most: int = TOP) -> list[list[str]]:
        """The values of `columns(most)` but for the status; nine digits give a float32 back as it was."""
        rows = []
        for names, p in zip(self.names, self.p.tolist(), strict=True):
            pairs = zip(names, p, strict=False)
            row = [cell for name, value in pairs for cell in (name, f"{value:.9g}")] or ["", "0"]
            rows.append([*row, *[""] * (2 * most - len(row))])
        return rows

    @classmethod
    def read(cls, file: Path, rows: Sequence[Sequence[str]]) -> "Ranking":
        """Reads such cells; those of the second and the third class may be missing."""
        names = [[name for name in row[: len(COLUMNS) : 2] if name] for row in rows]
        t = max(1, *map(len, names)) if names else 1
        p = [[number(file, cell or "0") for cell in [*row[1 : len(COLUMNS) : 2], *["0"] * TOP][:t]] for row in rows]
        return cls(names, np.array(p, np.float64).reshape(len(rows), t))


@dataclass(frozen=True)
class Predictions:
    """`predictions.csv`: each key of a split, sorted, with its answer ("" is unknown) and what is predicted."""

    keys: Sequence[str]
    answers: Sequence[str]
    ranking: Ranking

    @property
    def predictions(self) -> list[str]:
        """The most probable class of each image."""
        return self.ranking.best

    @property
    def confidence(self) -> Float[ndarray, " n"]:
        """How probable it is."""
        return self.ranking.confidence

    def write(self, file: Path) -> None:
        """Writes `key,answer` and `COLUMNS`."""
        rows = [[*pair, *cells] for *pair, cells in zip(self.keys, self.answers, self.ranking.cells(), strict=True)]
        write_csv(file, ("key", "answer", *COLUMNS), rows)

    @classmethod
    def read(cls, file: Path) -> "Predictions":
        rows = read_csv(file, ("key", "answer", *COLUMNS[:2]))[1]
        ranking = Ranking.read(file, [row[2:] for row in rows])
        return cls([row[0] for row in rows], [row[1] for row in rows], ranking)


@dataclass(frozen=True)
class PseudoLabels:
    """`pseudo_labels.csv`: what a model predicts for each training image without a label."""

    keys: Sequence[str]
    ranking: Ranking

    def write(self, file: Path) -> None:
        """Writes `key` and `COLUMNS`."""
        rows = ([key, *cells] for key, cells in zip(self.keys, self.ranking.cells(), strict=True))
        write_csv(file, ("key", *COLUMNS), rows)

    @classmethod
    def read(cls, file: Path) -> "PseudoLabels":
        rows = read_csv(file, ("key", *COLUMNS[:2]))[1]
        return cls([row[0] for row in rows], Ranking.read(file, [row[1:] for row in rows]))
