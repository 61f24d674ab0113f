"""FreeMatch: FixMatch whose thresholds follow the network's confidence, overall and by class (Wang et al. 2023).

tau is the mean confidence, p~ the mean prediction and h~ the histogram of pseudo-labels, all moving averages.
"""

import torch
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.nn.primitives import one_hot
from pipeline.parallel import dist
from pipeline.train.moving import MovingMean
from pipeline.train.pseudo_labelling import PseudoLabelling, PseudoLabelParams, UnlabelledLoss, weighted_ce
from pipeline.train.task import Task


class FreeMatchParams(PseudoLabelParams):
    """The block `train.freematch`."""

    threshold_momentum: float = Field(ge=0, lt=1)  # of tau, p~ and h~
    fairness: float = Field(ge=0)  # weight of the fairness term, beside that of the unlabelled loss, which scales both


def adaptive_thresholds(
    confidence: Float[Tensor, ""], mean_prediction: Float[Tensor, " k"], has_label: Bool[Tensor, " k"]
) -> Float[Tensor, " k"]:
    """The threshold of each class, tau times p~ over its largest value (eq. 7); 0 where a class has no label."""
    mean_prediction = mean_prediction * has_label
    return confidence * mean_prediction / mean_prediction.max().clamp(min=1e-12)


def fairness_term(
    strong: Float[Tensor, "u k"],
    mask: Float[Tensor, " u"],
    mean_prediction: Float[Tensor, " k"],
    histogram: Float[Tensor, " k"],
    has_label: Bool[Tensor, " k"],
) -> Float[Tensor, ""]:
    """Minus the cross-entropy of p~ / h~ and p / h, each brought to sum 1 (eq. 12); at most 0.

    p is the mean of softmax(strong) over all processes' images in the mask, h the histogram of its argmax. Gradients
    flow to p alone.
    Departure: the sums are over the classes that have a label and that h has; elsewhere p / h is not a number.
    """
    q = strong.softmax(dim=1)
    total = dist.total(mask.sum()).clamp(min=1e-12)
    h = dist.total(mask @ one_hot(q.detach().argmax(dim=1), q.shape[1]).to(q.dtype)) / total
    defined = has_label & (h > 0)
    target = torch.where(defined, mean_prediction / histogram.clamp(min=1e-6), 0)
    ratio = torch.where(defined, dist.total(mask @ q) / total / h.clamp(min=1e-12), 0)
    target, ratio = (values / values.sum().clamp(min=1e-12) for values in (target, ratio))
    return (target * torch.where(defined, ratio, 1).log()).sum()


class FreeMatchLoss(UnlabelledLoss[FreeMatchParams]):
    """Remembers tau, p~ and h~, which begin evenly over the classes that have a label.

    This batch is among what they are averages of. Departure: a pseudo-label of a class without a label does not count,
    for its threshold would go to 0.
    """

    def __init__(self, params: FreeMatchParams, task: Task, level: int) -> None:
        super().__init__(params, task, level)
        even = self.has_label / self.has_label.sum()
        momentum, warm = params.threshold_momentum, task.common.warm_averages
        self.confidence = MovingMean(even.max(), momentum, warm=warm)
        self.mean_prediction = MovingMean(even, momentum, warm=warm)
        self.histogram = MovingMean(even, momentum, warm=warm)

    def forward(
        self, p: Float[Tensor, "u k"], strong: Float[Tensor, "u k"], rows: Int64[Tensor, " u"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The loss with the fairness term in it (eq. 8 and 13), and the mask's mean; no gradient reaches `p`."""
        p = self.aligned(p.detach())
        pseudo_label, mask = p.argmax(dim=1), self.weights(p, rows)
        histogram = self.histogram.updated(one_hot(pseudo_label, self.num_classes).to(p.dtype).mean(dim=0))
        mean_prediction = self.mean_prediction.updated(p.mean(dim=0))
        fairness = fairness_term(strong, mask, mean_prediction, histogram, self.has_label)
        return weighted_ce(strong, pseudo_label, mask) + self.params.fairness * fairness, mask.mean()

    def weights(self, p: Float[Tensor, "u k"], rows: Int64[Tensor, " u"]) -> Float[Tensor, " u"]:
        """The mask: 1 for each pseudo-label that reaches the threshold of its class, 0 for the others (eq. 5 to 8)."""
        confidence, pseudo_label = p.max(dim=1)
        mean_prediction = self.mean_prediction.updated(p.mean(dim=0))
        mean_confidence = self.confidence.updated(confidence.mean())
        thresholds = adaptive_thresholds(mean_confidence, mean_prediction, self.has_label)
        return (self.has_label[pseudo_label] & (confidence >= thresholds[pseudo_label])).to(p.dtype)

    def after_step(self) -> None:
        super().after_step()
        for mean in (self.confidence, self.mean_prediction, self.histogram):
            mean.after_step()


class FreeMatch(PseudoLabelling[FreeMatchParams]):
    """The method."""

    Params = FreeMatchParams
    Unlabelled = FreeMatchLoss
