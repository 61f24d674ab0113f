"""What a selection saves: how many random labels reach the same accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from pipeline.base import rng

RESAMPLES = 2_000  # of the bootstrap


@dataclass(frozen=True)
class Multiplier:
    """Random labels for one of the selection's, and the 95 % interval of the bootstrap over seeds.

    Infinite where no measured number of random labels reaches the accuracy: then it is above `most`.
    """

    value: float
    low: float
    high: float
    most: float

    def __str__(self) -> str:
        value, low, high = (
            f"{x:.1f}" if np.isfinite(x) else f"> {self.most:.1f}" for x in (self.value, self.low, self.high)
        )
        return f"{value} ({low} to {high})"

    def cells(self) -> list[str]:
        """Value, low and high for a CSV; "inf" where no number of random labels reaches it."""
        return [f"{x:.6g}" for x in (self.value, self.low, self.high)]


def label_multiplier(accuracies: Sequence[float], budget: int, of_random: Mapping[int, Sequence[float]]) -> Multiplier:
    """Of picks with these accuracies, one a seed, against random labels' accuracies by their number.

    Between measured numbers of labels the mean accuracy of random ones is taken to be linear in the logarithm of their
    number; where it falls by chance it is taken to stay. Below the least measured number it is taken to be that number.
    The interval speaks of other picks and other draws, not of other images.
    """
    budgets = sorted(of_random)
    chance = rng.stream(0, "study", "bootstrap")

    def resampled(values: Sequence[float]) -> Float[ndarray, " r"]:
        given = np.array(values)
        return given[chance.integers(len(given), size=(RESAMPLES, len(given)))].mean(axis=1)

    curves = np.stack([resampled(of_random[b]) for b in budgets], axis=1)
    drawn = [_reached(mean, curve, budgets) for mean, curve in zip(resampled(accuracies), curves, strict=True)]
    value = _reached(float(np.mean(accuracies)), np.array([np.mean(of_random[b]) for b in budgets]), budgets)
    # The nearest draw, as nothing lies between a number and infinity.
    low, high = np.percentile(drawn, [2.5, 97.5], method="nearest")
    return Multiplier(value / budget, float(low) / budget, float(high) / budget, budgets[-1] / budget)


def _reached(accuracy: float, curve: Float[ndarray, " b"], budgets: Sequence[int]) -> float:
    """The number of labels at which the curve reaches an accuracy; infinite if it does not."""
    rising = np.maximum.accumulate(curve)
    if accuracy > rising[-1]:
        return float("inf")
    at = int(np.searchsorted(rising, accuracy))  # the first that reaches it
    if at == 0:
        return float(budgets[0])
    share = (accuracy - rising[at - 1]) / (rising[at] - rising[at - 1])
    return float(np.exp(np.interp(share, [0, 1], np.log([budgets[at - 1], budgets[at]]))))
