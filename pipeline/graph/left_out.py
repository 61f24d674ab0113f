"""What the other labels say of each labelled image, and what is chosen by it: a share and a temperature."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy import ndarray

from pipeline.base import rng
from pipeline.graph.affinity import Affinity
from pipeline.graph.spread import at_labelled
from pipeline.vectors.rows import sample

MOST = 500  # labels that are left out, at most: each costs one column to solve for
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of spreading in the mixture
PRIOR = (0.005, 0.02, 0.1, 0.5, 0.375)  # of the shares, where no label says anything; mean .80


def places(labels: Int64[ndarray, " m"]) -> Int64[ndarray, " r"]:
    """Which labels are left out, `MOST` at most: those whose class has another one, or it could not be found."""
    others = np.flatnonzero(np.bincount(labels)[labels] > 1)
    return others[sample(len(others), MOST, rng.stream(0, "graph", "left out"))]


def votes(
    affinity: Affinity,
    rows: Int64[ndarray, " m"],
    labels: Int64[ndarray, " m"],
    place: Int64[ndarray, " r"],
    scale: Float[ndarray, " k"],
    alpha: float,
) -> Float[ndarray, "r k"]:
    """What the spread labels say of image `rows[place[i]]` without its own label; rows sum to 1.

    F is linear in the labels: what each label gives each image is solved for once. The columns keep the scale that
    Sinkhorn found with all labels. An image that no other label reaches has equal probabilities.
    """
    device = affinity.matrix.device
    at = torch.from_numpy(rows).to(device)
    given = at_labelled(affinity, at, at[torch.from_numpy(place).to(device)], alpha).double().clamp(min=0).cpu().numpy()
    given[place, np.arange(len(place))] = 0
    count = np.bincount(labels, minlength=len(scale)).astype(np.float64)
    p = np.zeros((len(place), len(scale)))
    np.add.at(p.T, labels, given)
    less = np.tile(count, (len(place), 1))
    less[np.arange(len(place)), labels[place]] -= 1
    p *= scale / np.maximum(less, 1)
    total = p.sum(axis=1, keepdims=True)
    return np.where(total > 0, p / np.where(total > 0, total, 1), 1 / len(scale))


def mixing_share(spread: Float[ndarray, "r k"], probe: Float[ndarray, "r k"], labels: Int64[ndarray, " r"]) -> float:
    """How much spreading counts beside the probe: the mean of `SHARES` by how few labels each mixture gets wrong.

    A mixture's weight is its part of `PRIOR` times exp(-mistakes), so a handful of labels decides, and fewer leave the
    usual share. Log loss in place of mistakes loses up to four points: the probe is not calibrated.
    """
    wrong = [((share * spread + (1 - share) * probe).argmax(axis=1) != labels).sum() for share in SHARES]
    weight = np.array(PRIOR) * np.exp(min(wrong) - np.array(wrong, np.float64))
    return float(weight @ SHARES / weight.sum())


def tempered(p: Float[ndarray, "b k"], temperature: float) -> Float[ndarray, "b k"]:
    """p^(1/T), scaled to sum 1."""
    hot = np.maximum(p, 1e-12) ** (1 / temperature)
    return hot / hot.sum(axis=1, keepdims=True)
