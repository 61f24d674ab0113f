"""Accuracy, F1, coverage and calibration: pure functions of class numbers and confidences."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Bool, Float, Int64
from numpy import ndarray
from scipy.stats import beta

BINS = 15  # of the calibration error, as in Guo et al. 2017
Z95 = 1.959963984540054  # the 97.5 % quantile of the normal distribution


def top1(answers: Int64[ndarray, " n"], predictions: Int64[ndarray, " n"]) -> float:
    """The share that is right, in [0, 1]; n is at least 1."""
    return float((answers == predictions).mean())


def wilson(share: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share of n independent trials (Wilson 1927); it stays within [0, 1]."""
    centre = share + Z95**2 / (2 * n)
    half = Z95 * sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    scale = 1 + Z95**2 / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def exact(right: int, n: int) -> tuple[float, float]:
    """The exact 95 % interval of a share, from `right` of n independent trials (Clopper and Pearson 1934)."""
    low = beta.ppf(0.025, right, n - right + 1) if right else 0.0
    high = beta.ppf(0.975, right + 1, n - right) if right < n else 1.0
    return float(low), float(high)


def confusion(answers: Int64[ndarray, " n"], predictions: Int64[ndarray, " n"], k: int) -> Int64[ndarray, "k k"]:
    """Counts: row i, column j is how many images of class i were predicted as class j."""
    return np.bincount(answers * k + predictions, minlength=k * k).reshape(k, k)


def recall(counts: Int64[ndarray, "k k"]) -> Float[ndarray, " k"]:
    """The share of each class that is right, from a confusion matrix; NaN for a class without images."""
    total = counts.sum(axis=1)
    return np.divide(counts.diagonal(), total, out=np.full(len(counts), np.nan), where=total > 0)


def balanced(counts: Int64[ndarray, "k k"]) -> float:
    """Recall averaged over the classes that have images, of which there is at least one."""
    return float(np.nanmean(recall(counts)))


def macro_f1(counts: Int64[ndarray, "k k"]) -> float:
    """F1 of each class, averaged over the classes that have images: a class never predicted counts as 0."""
    total, predicted = counts.sum(axis=1), counts.sum(axis=0)
    present = total > 0
    return float((2 * counts.diagonal()[present] / (total + predicted)[present]).mean())


def covered(labels: Int64[ndarray, " b"]) -> int:
    """The number of classes with at least one label."""
    return len(np.unique(labels))


def balance(labels: Int64[ndarray, " b"]) -> float:
    """How evenly the labels lie over the classes they cover: entropy over its maximum, 1 for equal counts, in (0, 1].

    One class alone counts as 1: `covered` says how many classes there are.
    """
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) == 1:
        return 1.0
    share = counts / counts.sum()
    return float(-(share * np.log(share)).sum() / np.log(len(counts)))


@dataclass(frozen=True)
class Calibration:
    """Confidence beside accuracy in equal bins of confidence, bin i holding (i / m, (i + 1) / m]; NaN in empty bins."""

    count: Int64[ndarray, " m"]
    confidence: Float[ndarray, " m"]
    accuracy: Float[ndarray, " m"]

    @property
    def ece(self) -> float:
        """Expected calibration error: mean |accuracy - confidence| over the images (Guo et al. 2017, eq. 3)."""
        full = self.count > 0
        gap = np.abs(self.accuracy[full] - self.confidence[full])
        return float((gap * self.count[full]).sum() / self.count.sum())


def calibration(confidence: Float[ndarray, " n"], right: Bool[ndarray, " n"], bins: int = BINS) -> Calibration:
    """Bins the confidences, in [0, 1], of n predictions that are right or not."""
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)

    def mean(values: ndarray) -> Float[ndarray, " m"]:
        total = np.bincount(place, weights=values, minlength=bins)
        return np.divide(total, count, out=np.full(bins, np.nan), where=count > 0)

    return Calibration(count, mean(confidence), mean(right))
