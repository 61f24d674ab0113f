"""SoftMatch: FixMatch in which an unsure guess counts less instead of not at all (Chen et al. 2023).

mu and var are moving averages of the confidences' mean and variance: the weight is a Gaussian below mu and 1 above.
"""

from typing import Any

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.parallel import dist
from pipeline.train.alignment import label_counts
from pipeline.train.methods.fixmatch import FixMatch, Guesses, GuessParams, weighted_ce
from pipeline.train.moving import MovingMean
from pipeline.train.task import Task


class SoftMatchParams(GuessParams):
    """The block `train.softmatch`; `align: uniform` is the paper's uniform alignment."""

    confidence_keep: float = Field(ge=0, lt=1)  # of mu and the variance, warmed up; 0.999 in the paper
    n_sigma: float = Field(gt=0, le=1e6)  # 2 in the paper; the larger, the narrower the Gaussian


def soft_weights(
    confidence: Float[Tensor, " u"], mean: Float[Tensor, ""], var: Float[Tensor, ""], n_sigma: float
) -> Float[Tensor, " u"]:
    """exp(-max(0, mean - confidence)^2 / (2 var / n_sigma^2)), in [0, 1]; 1 from the mean on."""
    below = (mean - confidence).clamp(min=0)
    return (-below.square() * n_sigma**2 / (2 * var).clamp(min=1e-12)).exp()


class SoftGuesses(Guesses):
    """Remembers mu and the variance; this batch, of which there must be two images, is among what they come from.

    Aligned guesses say how much a guess counts, but not what is guessed. Departure: a guess of a class without a label
    does not count; alignment leaves nothing of it in the confidence.
    """

    reached: Tensor

    def __init__(self, params: Any, task: Task, level: int) -> None:
        super().__init__(params, task, level)
        reached = label_counts(task.targets, level) > 0
        self.register_buffer("reached", reached, persistent=False)
        self.mu = MovingMean(1 / reached.sum(), params.confidence_keep)
        self.var = MovingMean(torch.ones(()), params.confidence_keep)

    def forward(
        self, weak: Float[Tensor, "u k"], strong: Float[Tensor, "u k"], rows: Int64[Tensor, " u"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The loss of logits of both views, and the mean weight; no gradient reaches `weak`."""
        p = weak.detach().softmax(dim=1)
        guess = p.argmax(dim=1)
        weights = self.weights(self.aligned(p), rows) * self.reached[guess]
        return weighted_ce(strong, guess, weights), weights.mean()

    def weights(self, p: Float[Tensor, "u k"], rows: Int64[Tensor, " u"]) -> Float[Tensor, " u"]:
        """How much each guess counts, in [0, 1]."""
        confidence = p.amax(dim=1)
        mean, var = self.mu.moved(confidence.mean()), self.var.moved(dist.gather(confidence).var())
        return soft_weights(confidence, mean, var, self.params.n_sigma)

    def after_step(self) -> None:
        """Moves the averages."""
        super().after_step()
        self.mu.after_step()
        self.var.after_step()


class SoftMatch(FixMatch):
    """The method: FixMatch with these guesses."""

    Params = SoftMatchParams
    Guesses = SoftGuesses
