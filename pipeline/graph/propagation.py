"""Labels carried to all images: spread through the graph, brought to a prior, mixed with a linear probe, calibrated."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from numpy import ndarray
from pydantic import Field
from scipy.special import softmax

from pipeline.artifacts.predictions import top
from pipeline.base.params import Block
from pipeline.graph import probe
from pipeline.graph.affinity import Affinity
from pipeline.graph.estimate import Estimate, accuracy, matching_temperature, mixing_share, tempered
from pipeline.graph.left_out import LeftOut, leave_out
from pipeline.graph.prior import class_shares, masses
from pipeline.graph.spread import Scores, sinkhorn, spread
from pipeline.vectors.rows import blocks


class PropagateParams(Block):
    """The block `train.propagate`."""

    alpha: float = Field(ge=0, le=0.999)  # how far labels spread; at 0 labelled images alone have a class
    prior: str  # class shares: uniform over classes with a label, clusters that picks stand for, mixed, or a CSV
    readout: Literal["auto", "linear", "neighbours"]  # auto: the labels choose the share of a linear probe


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
    left_out: LeftOut
    estimate: Estimate  # of the accuracy on images without a label

    def mixture(self, x: Float32[ndarray, "n d"], rows: slice | Int64[ndarray, " b"]) -> Float[ndarray, "b k"]:
        """Of some of the images, before the temperature; those that no label reaches have what the probe says."""
        share = np.where(self.reached[rows, None], self.share, 0)
        return share * self.scores.dense(rows) + (1 - share) * self.probed(x[rows])

    def probed(self, x: Float32[ndarray, "b d"]) -> Float[ndarray, "b k"]:
        """What the linear layer says of vectors."""
        return softmax(x.astype(np.float64) @ self.weight.T + self.bias, axis=1)

    def of_left_out(self) -> tuple[Float[ndarray, " f"], Bool[ndarray, " f"]]:
        """Of each label that can be left out, the confidence of what the others say, and whether that is right."""
        p, found = self.without_own(), self.left_out.found
        return p[found].max(axis=1), (p.argmax(axis=1) == self.left_out.labels)[found]

    def without_own(self) -> Float[ndarray, "r k"]:
        """What the others say of each label that was left out, found or not."""
        said = self.left_out
        return tempered(self.share * said.spread + (1 - self.share) * said.probe, self.temperature)

    def best(self, x: Float32[ndarray, "n d"]) -> tuple[Int64[ndarray, "n t"], Float32[ndarray, "n t"]]:
        """The most probable classes of each image, best first, and how probable they are."""
        parts = [top(tempered(self.mixture(x, rows), self.temperature)) for rows in blocks(len(x), len(self.bias))]
        numbers, p = (np.concatenate(part) for part in zip(*parts, strict=True))
        return numbers, p.astype(np.float32)


def propagate(
    x: Float32[ndarray, "n d"],
    affinity: Affinity,
    rows: Int64[ndarray, " m"],
    labels: Int64[ndarray, " m"],
    num_classes: int,
    params: PropagateParams,
    known: Float[ndarray, " k"] | None = None,
    asked: Bool[ndarray, " m"] | None = None,
) -> Propagation:
    """Carries the labels to all images. `known` are the class shares of a CSV, where `params.prior` names one.

    What has to be chosen, the labels choose that were `asked` for (None: all), as if there were no others, each of them
    left out in turn: the share of spreading and, by the estimate of accuracy, the temperature. Labels that were
    confirmed where the graph was sure would make it look better than it is: those that were asked for are then found
    too well, and what is hard is all that is left.
    """
    device = affinity.matrix.device
    at, of = torch.from_numpy(rows).to(device), torch.from_numpy(labels).to(device)
    prior = class_shares(params.prior, labels, masses(x, rows), num_classes, known)
    scores = sinkhorn(spread(affinity, at, of, num_classes, params.alpha), torch.from_numpy(prior).to(device))
    if params.readout == "linear":
        weight, bias = probe.fit_soft(x, scores)
    else:
        weight, bias = probe.fit(x[rows], labels, num_classes)
    told = None if asked is None or asked.all() or not asked.any() else np.flatnonzero(asked)
    if told is not None:
        alone = propagate(x, affinity, rows[told], labels[told], num_classes, params, known)
        said, share = replace(alone.left_out, place=told[alone.left_out.place]), alone.share
    else:
        said = leave_out(x, affinity, rows, labels, scores.scale.cpu().numpy(), params.alpha)
        share = {"auto": mixing_share(said), "neighbours": 1.0, "linear": 0.0}[params.readout]
    reached, unknown = (scores.share.sum(1) > 0).cpu().numpy(), Estimate(0.0, 0.0, 1.0, 0.0)
    first = Propagation(scores, weight, bias, params.readout, share, 1.0, reached, prior, said, unknown)
    p = first.mixture(x, said.rows)
    if told is not None:
        estimate = alone.estimate
    else:
        agree = scores.dense(said.rows).argmax(axis=1) == first.probed(x[said.rows]).argmax(axis=1)
        estimate = accuracy(said, share, p, agree)
    return replace(first, temperature=matching_temperature(p, estimate.top1), estimate=estimate)
