"""SoftMatch: FixMatch in which a less confident pseudo-label counts less instead of not at all (Chen et al. 2023).

mu and var are moving averages of the confidences' mean and variance: the weight is a Gaussian below mu and 1 above.
"""

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.parallel import dist
from pipeline.train.moving import MovingMean
from pipeline.train.pseudo_labelling import PseudoLabelling, PseudoLabelParams, UnlabelledLoss, weighted_ce
from pipeline.train.task import Task


class SoftMatchParams(PseudoLabelParams):
    """The block `train.softmatch`; `align: uniform` is the paper's uniform alignment."""

    confidence_momentum: float = Field(ge=0, lt=1)  # of mu and var
    n_sigma: float = Field(gt=0, le=1e6)  # the larger, the narrower the Gaussian


def soft_weights(
    confidence: Float[Tensor, " u"], mean: Float[Tensor, ""], var: Float[Tensor, ""], n_sigma: float
) -> Float[Tensor, " u"]:
    """exp(-max(0, mean - confidence)^2 / (2 var / n_sigma^2)), in [0, 1]; 1 from the mean on."""
    below = (mean - confidence).clamp(min=0)
    return (-below.square() * n_sigma**2 / (2 * var).clamp(min=1e-12)).exp()


class SoftMatchLoss(UnlabelledLoss[SoftMatchParams]):
    """Remembers mu and var; this batch, of which there must be two images, is among what they come from.

    Aligned predictions decide how much a pseudo-label counts, but not which class it is. Departure: a pseudo-label of a
    class without a label does not count; alignment leaves nothing of it in the confidence.
    """

    def __init__(self, params: SoftMatchParams, task: Task, level: int) -> None:
        super().__init__(params, task, level)
        momentum, warm = params.confidence_momentum, task.common.warm_averages
        self.mu = MovingMean(1 / self.has_label.sum(), momentum, warm=warm)
        self.var = MovingMean(torch.ones(()), momentum, warm=warm)

    def forward(
        self, p: Float[Tensor, "u k"], strong: Float[Tensor, "u k"], rows: Int64[Tensor, " u"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The loss of the guesses `p` and the logits of strong views, and the mean weight; no gradient reaches `p`."""
        p = p.detach()
        pseudo_label = p.argmax(dim=1)
        weights = self.weights(self.aligned(p), rows) * self.has_label[pseudo_label]
        return weighted_ce(strong, pseudo_label, weights), weights.mean()

    def weights(self, p: Float[Tensor, "u k"], rows: Int64[Tensor, " u"]) -> Float[Tensor, " u"]:
        confidence = p.amax(dim=1)
        mean, var = self.mu.updated(confidence.mean()), self.var.updated(dist.gather(confidence).var())
        return soft_weights(confidence, mean, var, self.params.n_sigma)

    def after_step(self) -> None:
        super().after_step()
        self.mu.after_step()
        self.var.after_step()


class SoftMatch(PseudoLabelling[SoftMatchParams]):
    """The method."""

    Params = SoftMatchParams
    Unlabelled = SoftMatchLoss
