"""How good the result is, told from the labels in hand, and how good it would be with more of them.

No answer is used but the labels themselves. docs/methods/train-propagation.md has what was tried, and how often the
intervals hold the truth.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import beta

from pipeline.graph.left_out import LeftOut

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of spreading beside the probe
PRIOR = (0.005, 0.02, 0.1, 0.5, 0.375)  # of the shares, where no label says anything; mean .80
USUAL_TEMPERATURE, TEMPERATURE_LABELS = 0.7, 5.0  # before any label speaks, and how many labels that is worth
TEMPERATURES = (0.1, 2.0)  # the lowest and the highest
BIAS = 0.03  # standard deviation of the estimate's own bias, over data sets
SLOPE, SLOPE_STD = 0.2, 0.2  # of error ~ labels^-slope, over data sets; the labels' own slope tells no more
FEW = 40  # labels, below which an estimate misses by seven points and more


@dataclass(frozen=True)
class Estimate:
    """A share of right images in [0, 1], with the ends of its 95 % interval, and what it is at least (95 %, one-sided).

    With fewer than `FEW` labels the bound alone is worth showing.
    """

    top1: float
    low: float
    high: float
    at_least: float


def mixing_share(said: LeftOut) -> float:
    """How much spreading counts beside the probe: the mean of `SHARES` by how few labels each mixture gets wrong.

    A mixture's weight is its part of `PRIOR` times exp(-mistakes), so a handful of labels decides, and none leaves the
    usual share. Log loss in place of mistakes loses up to four points: the probe is not calibrated.
    """
    p, probed, labels = said.spread[said.found], said.probe[said.found], said.labels[said.found]
    wrong = np.array([((s * p + (1 - s) * probed).argmax(axis=1) != labels).sum() for s in SHARES])
    weight = np.array(PRIOR) * np.exp((wrong.min() - wrong).astype(np.float64))
    return float(weight @ SHARES / weight.sum())


def tempered(p: Float[ndarray, "b k"], temperature: float) -> Float[ndarray, "b k"]:
    """p^(1/T), scaled to sum 1."""
    hot = (p / p.max(axis=1, keepdims=True)).clip(min=1e-8) ** (1 / temperature)
    return hot / hot.sum(axis=1, keepdims=True)


def accuracy(said: LeftOut, share: float, p: Float[ndarray, "s k"], agree: Bool[ndarray, " s"]) -> Estimate:
    """The accuracy on images without a label: the mean of four quantities, each biased in its own way.

    Labels left out that are found again; images that get the class of their nearest label without it; images where
    spreading and probe name the same class (`agree`), and what the mixture gains on the two; and the mean confidence of
    `p`, the mixture for these images, at the temperature of the labels left out. The interval is Jeffreys' for three
    quarters of the labels looked at and those that can be left out, widened by `BIAS` and by how far the four disagree.
    """
    out = share * said.spread + (1 - share) * said.probe
    right, spread, probed = ((q.argmax(axis=1) == said.labels)[said.found] for q in (out, said.spread, said.probe))
    parts = [right.mean()] if len(right) else []
    if len(p):
        gain = max(0.0, right.mean() - (spread.mean() + probed.mean()) / 2) if len(right) else 0.0
        parts += [agree.mean() + gain, tempered(p, _temperature_of_labels(out, said)).max(axis=1).mean()]
        known, near = said.found[said.near], share * said.spread_near + (1 - share) * said.probe_near
        if known.any():
            parts.append((near.argmax(axis=1) == said.labels[said.near])[known].mean())
    top1 = float(np.clip(np.mean(parts), 0, 1)) if parts else 0.5
    doubt = (BIAS**2 + np.var(parts) / 8) / max(top1 * (1 - top1), 0.01) if parts else 1.0
    count = 1 / (1 / (0.75 * len(said.labels) * (1 + said.found.mean())) + doubt)
    low, high, bound = beta.ppf((0.025, 0.975, 0.05), top1 * count + 0.5, (1 - top1) * count + 0.5).tolist()
    return Estimate(top1, low, high, bound)


def matching_temperature(p: Float[ndarray, "s k"], top1: float) -> float:
    """The temperature at which the mean confidence of `p` is `top1`, within `TEMPERATURES`."""
    low, high = np.log(TEMPERATURES)

    def over(log_temperature: float) -> float:
        return float(tempered(p, np.exp(log_temperature)).max(axis=1).mean()) - top1

    if not len(p):
        return 1.0
    if over(low) <= 0 or over(high) >= 0:
        return TEMPERATURES[0] if over(low) <= 0 else TEMPERATURES[1]
    return float(np.exp(brentq(over, low, high, xtol=1e-3)))


def forecast(now: Estimate, num_labels: int, more: int) -> Estimate:
    """The accuracy with `more` labels: the error falls as labels^-SLOPE. The doubts of now and of the slope add up."""
    less = num_labels / (num_labels + more)
    top1, flat, steep = (1 - (1 - now.top1) * less ** (SLOPE + z * SLOPE_STD) for z in (0, -1, 2))

    def reach(of_now: float, of_slope: float) -> float:
        return float(np.hypot(less**SLOPE * of_now, of_slope))

    low, at_least = (max(top1 - reach(now.top1 - end, top1 - flat), 0.0) for end in (now.low, now.at_least))
    return Estimate(top1, low, min(top1 + reach(now.high - now.top1, steep - top1), 1.0), at_least)


def _temperature_of_labels(p: Float[ndarray, "r k"], said: LeftOut) -> float:
    """The temperature of least log loss of the labels left out, drawn towards the usual one."""
    p, labels = p[said.found], said.labels[said.found]
    each = np.arange(len(p))

    def loss(log_temperature: float) -> float:
        right = tempered(p, np.exp(log_temperature))[each, labels] if len(p) else np.ones(1)
        surprise = -np.log(0.999 * right + 0.001 / max(p.shape[1], 1)).sum()
        return float(surprise + TEMPERATURE_LABELS * (log_temperature - np.log(USUAL_TEMPERATURE)) ** 2)

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(4)), method="bounded").x))
