"""What a selection saves: how many random labels reach the same accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import t as student

from pipeline.base import rng
from pipeline.evaluate.accuracy import Z95

RESAMPLES = 2_000  # of the bootstrap


@dataclass(frozen=True)
class Multiplier:
    """Random labels for one of the selection's, and a 95 % interval over seeds.

    Infinite where no measured number of random labels reaches the accuracy, and 0 where the least has more: the value
    lies above `most`, or below `least`.
    """

    value: float
    low: float
    high: float
    least: float
    most: float

    def __str__(self) -> str:
        def said(x: float) -> str:
            return f"> {self.most:.1f}" if np.isinf(x) else f"< {self.least:.1f}" if x == 0 else f"{x:.1f}"

        return f"{said(self.value)} ({said(self.low)} to {said(self.high)})"

    def cells(self) -> list[str]:
        """Value, low and high for a CSV; "inf" above all that was measured, 0 below it."""
        return [f"{x:.6g}" for x in (self.value, self.low, self.high)]


def label_multiplier(accuracies: Sequence[float], budget: int, of_random: Mapping[int, Sequence[float]]) -> Multiplier:
    """Of picks with these accuracies, one a seed, against those of random labels by their number, equally many each.

    Between measured numbers of labels the mean accuracy of random ones is taken to be linear in the logarithm of their
    number; where it falls by chance it is taken to stay. The interval is a bootstrap over the seeds, those of random
    labels the same for all numbers, as larger draws hold the smaller ones. With few seeds n a bootstrap is too narrow:
    its ends, in logarithms, are moved away from the value by the ratio of Student's quantile to the normal one, times
    the square root of n / (n - 1). It speaks of other picks and other draws, not of other images.
    """
    budgets, given = sorted(of_random), np.array(accuracies)
    table = np.array([of_random[b] for b in budgets])
    n = min(len(given), table.shape[1])
    chance = rng.stream(0, "study", "bootstrap")
    own = given[chance.integers(len(given), size=(RESAMPLES, len(given)))].mean(axis=1)
    curves = table[:, chance.integers(table.shape[1], size=(RESAMPLES, table.shape[1]))].mean(axis=2).T
    drawn = _reached(own, curves, budgets)
    value = float(_reached(given.mean(keepdims=True), table.mean(axis=1)[None], budgets)[0])
    # The nearest draw, as nothing lies between a number and infinity.
    ends = np.percentile(drawn, [2.5, 97.5], method="nearest")
    factor = student.ppf(0.975, n - 1) / Z95 * (n / (n - 1)) ** 0.5 if n > 1 else 1.0
    low, high = (_stretched(value, float(end), factor, budgets) for end in ends)
    return Multiplier(value / budget, low / budget, high / budget, budgets[0] / budget, budgets[-1] / budget)


def _stretched(value: float, end: float, factor: float, budgets: Sequence[int]) -> float:
    """The end of an interval, so many times as far from the value in logarithms; 0 or infinite beyond all numbers."""
    if end in (0.0, np.inf) or value in (0.0, np.inf):
        return end
    far = float(np.exp(np.log(value) + factor * (np.log(end) - np.log(value))))
    return 0.0 if far < budgets[0] else np.inf if far > budgets[-1] else far


def _reached(
    accuracy: Float[ndarray, " n"], curves: Float[ndarray, "n b"], budgets: Sequence[int]
) -> Float[ndarray, " n"]:
    """The numbers of labels at which curves reach an accuracy; infinite if one does not, 0 if it begins above it."""
    rising = np.maximum.accumulate(curves, axis=1)
    at = (rising < accuracy[:, None]).sum(axis=1)  # the first that reaches it
    after, before = np.minimum(at, len(budgets) - 1), np.maximum(at - 1, 0)
    y = np.take_along_axis(rising, np.stack([before, after], axis=1), axis=1)
    step = np.where(y[:, 1] > y[:, 0], y[:, 1] - y[:, 0], 1)
    x = np.log(budgets)
    between = np.exp(x[before] + (accuracy - y[:, 0]) / step * (x[after] - x[before]))
    return np.where(at == len(budgets), np.inf, np.where(accuracy < rising[:, 0], 0.0, between))
