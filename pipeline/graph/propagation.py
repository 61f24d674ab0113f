"""Labels carried to all images: spread through the graph, brought to a prior, mixed with a linear probe, calibrated."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from numpy import ndarray
from pydantic import Field
from scipy.special import softmax

from pipeline.base.params import Block
from pipeline.graph import left_out, probe
from pipeline.graph.affinity import Affinity
from pipeline.graph.left_out import tempered
from pipeline.graph.prior import class_shares, masses
from pipeline.graph.spread import Scores, sinkhorn, spread
from pipeline.vectors.rows import blocks


class PropagateParams(Block):
    """The block `train.propagate`."""

    alpha: float = Field(ge=0, lt=1)  # how far labels spread; at 0 labelled images alone have a class
    prior: str  # class shares: uniform over classes with a label, clusters that picks stand for, mixed, or a CSV
    readout: Literal["auto", "linear", "neighbours"]  # auto: the labels choose the share of a linear probe


@dataclass(frozen=True)
class LeftOut:
    """What is said of labelled images when their label is left out; images alone in their class cannot be."""

    place: Int64[ndarray, " r"]  # which of the labels
    p: Float[ndarray, "r k"]


@dataclass(frozen=True)
class Propagation:
    """The class of each image, as `p = share * spread + (1 - share) * probe`, then a temperature."""

    scores: Scores
    weight: Float32[ndarray, "k d"]
    bias: Float32[ndarray, " k"]
    readout: str
    share: float
    temperature: float
    reached: Bool[ndarray, " n"]
    prior: Float[ndarray, " k"]
    mass: Float[ndarray, " m"]  # how many images each label stands for
    left_out: LeftOut

    def probabilities(self, x: Float32[ndarray, "n d"], rows: slice) -> Float32[ndarray, "b k"]:
        """Of some of the images; those that no label reaches have what the probe says."""
        probed = softmax(x[rows] @ self.weight.T + self.bias, axis=1)
        share = np.where(self.reached[rows, None], self.share, 0)
        p = share * self.scores.dense(rows).cpu().numpy() + (1 - share) * probed
        return tempered(p, self.temperature).astype(np.float32)

    def best(self, x: Float32[ndarray, "n d"]) -> tuple[Int64[ndarray, " n"], Float32[ndarray, " n"]]:
        """The most probable class of each image, and how probable it is."""
        number, confidence = np.empty(len(x), np.int64), np.empty(len(x), np.float32)
        for rows in blocks(len(x), len(self.bias)):
            p = self.probabilities(x, rows)
            number[rows] = p.argmax(axis=1)
            confidence[rows] = p.max(axis=1)
        return number, confidence


def propagate(
    x: Float32[ndarray, "n d"],
    affinity: Affinity,
    rows: Int64[ndarray, " m"],
    labels: Int64[ndarray, " m"],
    num_classes: int,
    params: PropagateParams,
    shares: Float[ndarray, " k"] | None,
) -> Propagation:
    """Carries the labels to all images. `shares` are the class shares of a CSV, where `params.prior` names one.

    Where the labels choose anything, each of them is left out in turn.
    """
    device = affinity.matrix.device
    at, of = torch.from_numpy(rows).to(device), torch.from_numpy(labels).to(device)
    mass = masses(x, rows)
    prior = class_shares(params.prior, labels, mass, num_classes, shares)
    scores = sinkhorn(spread(affinity, at, of, num_classes, params.alpha), torch.from_numpy(prior).to(device))
    weight, bias = probe.fit(x[rows], labels, num_classes)
    place = left_out.places(labels)
    voted = left_out.votes(affinity, rows, labels, place, scores.scale.cpu().numpy(), params.alpha)
    probed = probe.left_out(x[rows], labels, num_classes)[place]
    truth, stands_for = labels[place], mass[place]
    share = {"neighbours": 1.0, "linear": 0.0}.get(params.readout)
    if share is None:
        share = left_out.mixing_share(voted, probed, truth)
    p = share * voted + (1 - share) * probed
    temperature = left_out.best_temperature(p, truth, stands_for)
    said = LeftOut(place, tempered(p, temperature))
    return Propagation(
        scores, weight, bias, params.readout, share, temperature, affinity.reached(rows), prior, mass, said
    )
