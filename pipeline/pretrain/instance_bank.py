"""What NPID and PIRL share: images are told apart by a bank of their past vectors.

Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination". The letters: q are unit
projections, P(i | q) = exp(q . bank_i / T) / Z is the probability that q shows image i. On small sets Z is the sum over
the bank; on large ones it is a constant, and the loss is noise-contrastive estimation (NCE) against random rows.
"""

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.nn.backbones import Backbone
from pipeline.nn.memory import Bank
from pipeline.nn.primitives import in_float32, soft_ce
from pipeline.parallel import dist
from pipeline.pretrain.method import MethodParams, SelfSupervised


class InstanceParams(MethodParams):
    """The block `pretrain.npid`, and the start of `pretrain.pirl`."""

    dim: int = Field(ge=1)
    head_norm: bool  # batch norm after the linear head; not in the papers
    temperature: float = Field(gt=0)
    negatives: int = Field(ge=0, le=10**9)  # rows of the bank drawn at each step; 0: the softmax over all of it
    bank_momentum: float = Field(ge=0, lt=1)  # weight of an image's old vector when the image is seen


P = TypeVar("P", bound=InstanceParams)


def softmax_loss(
    q: Float[Tensor, "b d"], bank: Float[Tensor, "n d"], instance: Int64[Tensor, " b"], temperature: float
) -> Float[Tensor, ""]:
    """-log P(instance | q) with the sum over the bank as Z (eq. 2 and 3), mean over the batch; in [0, inf).

    All rows are unit vectors; no gradient reaches the bank. With all of them equal it is log n.
    """
    return soft_ce(q, bank.detach(), instance, temperature)


@in_float32
def nce_loss(
    q: Float[Tensor, "b d"],
    bank: Float[Tensor, "n d"],
    instance: Int64[Tensor, " b"],
    noise: Int64[Tensor, " m"],
    log_z: Float[Tensor, ""],
    temperature: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """-log h(instance) - sum over noise of log(1 - h(noise)), h = P / (P + m / n) (eq. 5 to 7), mean over b; and log Z.

    Where `log_z` is -inf, Z is estimated as n times the mean of exp(q . bank_noise / T) over the batches of all
    processes (eq. 8). No gradient reaches the bank or Z. With all vectors equal, h is 1 / (1 + m) there.
    Departure: one draw of noise serves all images of a step, where the paper draws for each.
    """
    n, m = len(bank), len(noise)
    negative = q @ bank[noise].detach().T / temperature
    positive = (q * bank[instance].detach()).sum(dim=1) / temperature
    means = dist.gather(negative.detach().flatten().logsumexp(0, keepdim=True) - math.log(negative.numel()))
    estimate = means.logsumexp(0) - math.log(len(means)) + math.log(n)
    log_z = torch.where(log_z.isinf(), estimate, log_z.detach())
    # h is the sigmoid of log P - log (m / n).
    shift = log_z + math.log(m / n)
    return (F.softplus(shift - positive) + F.softplus(negative - shift).sum(dim=1)).mean(), log_z


class InstanceDiscrimination(SelfSupervised[P]):
    """A method with a bank that has a vector of each training image."""

    log_z: Tensor

    def __init__(self, backbone: Backbone, params: P, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.bank = Bank(num_images, params.dim, chance)
        unknown = 0.0 if params.negatives == 0 else -math.inf  # -inf until the first step
        self.register_buffer("log_z", torch.tensor(unknown))
        self._update: tuple[Tensor, Tensor, Tensor] | None = None  # for the bank, after the step

    def bank_loss(self, q: Float[Tensor, "v b d"], images: Int64[Tensor, " b"], new: Float[Tensor, "b d"]) -> Tensor:
        """The mean loss of v projections of each image; `after_step` moves the bank towards `new`."""
        instance, log_z = images.repeat(len(q)), self.log_z
        if self.params.negatives == 0:
            loss = softmax_loss(q.flatten(0, 1), self.bank.rows, instance, self.params.temperature)
        else:
            # Drawn on the CPU, so that every device and every process draws the same.
            noise = torch.randint(len(self.bank.rows), (self.params.negatives,)).to(images.device, non_blocking=True)
            loss, log_z = nce_loss(q.flatten(0, 1), self.bank.rows, instance, noise, log_z, self.params.temperature)
        self._update = images, new.detach(), log_z
        return loss

    @torch.no_grad()
    def after_step(self, _step: int, _num_steps: int) -> None:
        """Moves the images' rows of the bank; keeps the first estimate of Z."""
        if self._update is not None:
            images, new, log_z = self._update
            self.bank.update(images, new, self.params.bank_momentum)
            self.log_z.copy_(log_z)
        self._update = None
