"""FreeMatch: FixMatch whose thresholds follow how sure the network is, overall and of each class (Wang et al. 2023).

tau is the mean confidence, p~ the mean guess and h~ the histogram of guessed classes, all moving averages.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.parallel import dist
from pipeline.train.alignment import label_counts
from pipeline.train.methods.fixmatch import FixMatch, Guesses, GuessParams, weighted_ce
from pipeline.train.moving import MovingMean
from pipeline.train.task import Task


class FreeMatchParams(GuessParams):
    """The block `train.freematch`."""

    threshold_keep: float = Field(ge=0, lt=1)  # of tau, p~ and h~, warmed up; 0.999 in the paper
    fairness: float = Field(ge=0)  # weight of the fairness term: 0.001 to 0.05 in the paper


def adaptive_thresholds(
    confidence: Float[Tensor, ""], mean_guess: Float[Tensor, " k"], reached: Bool[Tensor, " k"]
) -> Float[Tensor, " k"]:
    """The threshold of each class, tau times p~ over its largest value (eq. 7); 0 where a class has no label."""
    mean_guess = mean_guess * reached
    return confidence * mean_guess / mean_guess.max().clamp(min=1e-12)


def fairness_term(
    strong: Float[Tensor, "u k"],
    kept: Float[Tensor, " u"],
    mean_guess: Float[Tensor, " k"],
    histogram: Float[Tensor, " k"],
    reached: Bool[Tensor, " k"],
) -> Float[Tensor, ""]:
    """Minus the cross-entropy of p~ / h~ and p / h, each brought to sum 1 (eq. 12); at most 0.

    p is the mean of softmax(strong) over all processes' kept images, h the histogram of its argmax. Gradients flow to p
    alone.
    Departure: the sums are over the classes that have a label and that h has; elsewhere p / h is not a number.
    """
    q = strong.softmax(dim=1)
    total = dist.total(kept.sum()).clamp(min=1e-12)
    own = dist.total(kept @ F.one_hot(q.detach().argmax(dim=1), q.shape[1]).to(q.dtype)) / total
    there = reached & (own > 0)
    wanted = torch.where(there, mean_guess / histogram.clamp(min=1e-6), 0)
    found = torch.where(there, dist.total(kept @ q) / total / own.clamp(min=1e-12), 0)
    wanted, found = (ratio / ratio.sum().clamp(min=1e-12) for ratio in (wanted, found))
    return (wanted * torch.where(there, found, 1).log()).sum()


class FreeGuesses(Guesses):
    """Remembers tau, p~ and h~, which begin evenly over the classes that have a label.

    This batch is among what they are averages of. Departure: a guess of a class without a label does not count, for
    its threshold would go to 0.
    """

    reached: Tensor

    def __init__(self, params: Any, task: Task, level: int) -> None:
        super().__init__(params, task, level)
        reached = label_counts(task.targets, level) > 0
        self.register_buffer("reached", reached, persistent=False)
        even = reached / reached.sum()
        keep = params.threshold_keep
        self.confidence, self.mean_guess, self.histogram = (MovingMean(s, keep) for s in (even.max(), even, even))

    def forward(
        self, weak: Float[Tensor, "u k"], strong: Float[Tensor, "u k"], rows: Int64[Tensor, " u"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The loss with the fairness term in it (eq. 8 and 13), and the share kept; no gradient reaches `weak`."""
        p = self.aligned(weak.detach().softmax(dim=1))
        guess = p.argmax(dim=1)
        kept = self.weights(p, rows)
        histogram = self.histogram.moved(F.one_hot(guess, self.num_classes).to(p.dtype).mean(dim=0))
        fairness = fairness_term(strong, kept, self.mean_guess.moved(p.mean(dim=0)), histogram, self.reached)
        return weighted_ce(strong, guess, kept) + self.params.fairness * fairness, kept.mean()

    def weights(self, p: Float[Tensor, "u k"], rows: Int64[Tensor, " u"]) -> Float[Tensor, " u"]:
        """1 for each guess that is sure enough for its class, 0 for the others (eq. 5 to 8)."""
        confidence, guess = p.max(dim=1)
        mean = self.mean_guess.moved(p.mean(dim=0))
        thresholds = adaptive_thresholds(self.confidence.moved(confidence.mean()), mean, self.reached)
        return (self.reached[guess] & (confidence >= thresholds[guess])).to(p.dtype)

    def after_step(self) -> None:
        """Moves the averages."""
        super().after_step()
        for mean in (self.confidence, self.mean_guess, self.histogram):
            mean.after_step()


class FreeMatch(FixMatch):
    """The method: FixMatch with these guesses; `weight` scales the fairness term too, which is 1 in the paper."""

    Params = FreeMatchParams
    Guesses = FreeGuesses
