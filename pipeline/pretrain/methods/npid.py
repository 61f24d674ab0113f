"""NPID: tell each image from all others by its place in a bank of their past vectors.

Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination". The letters: q are unit
projections, P(i | q) = exp(q . bank_i / T) / Z is the probability that q shows image i. On small sets Z is the sum over
the bank; on large ones it is a constant, and the loss is noise-contrastive estimation (NCE) against rows of chance.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.memory import Bank
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import in_float32, soft_ce, spread, unit
from pipeline.parallel import dist
from pipeline.pretrain.feed import Views


class NpidParams(Block):
    """The block `pretrain.npid`."""

    dim: int = Field(ge=1)
    head_norm: bool  # batch norm after the linear head; not in the paper
    temperature: float = Field(gt=0)
    negatives: int = Field(ge=0, le=10**9)  # rows of the bank drawn at each step; 0: the softmax over all of it
    bank_keep: float = Field(ge=0, lt=1)  # share of an image's vector that is kept when the image is seen


def softmax_loss(
    q: Float[Tensor, "b d"], bank: Float[Tensor, "n d"], own: Int64[Tensor, " b"], temperature: float
) -> Float[Tensor, ""]:
    """-log P(own | q) with the sum over the bank as Z (eq. 2 and 3), mean over the batch; in [0, inf).

    All rows are unit vectors; no gradient reaches the bank. With all of them equal it is log n.
    """
    return soft_ce(q, bank.detach(), own, temperature)


@in_float32
def nce_loss(
    q: Float[Tensor, "b d"],
    bank: Float[Tensor, "n d"],
    own: Int64[Tensor, " b"],
    noise: Int64[Tensor, " m"],
    log_z: Float[Tensor, ""],
    temperature: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """-log h(own) - sum over noise of log(1 - h(noise)), h = P / (P + m / n) (eq. 5 to 7), mean over b; and log Z.

    Where `log_z` is -inf, Z is estimated as n times the mean of exp(q . bank_noise / T) over the batches of all
    processes (eq. 8). No gradient reaches the bank or Z. With all vectors equal, h is 1 / (1 + m) there.
    Departure: one draw of noise serves all images of a step, where the paper draws for each.
    """
    n, m = len(bank), len(noise)
    far = q @ bank[noise].detach().T / temperature
    near = (q * bank[own].detach()).sum(dim=1) / temperature
    means = dist.gather(far.detach().flatten().logsumexp(0, keepdim=True) - math.log(far.numel()))
    estimate = means.logsumexp(0) - math.log(len(means)) + math.log(n)
    log_z = torch.where(log_z.isinf(), estimate, log_z.detach())
    # h is the sigmoid of log P - log (m / n).
    shift = log_z + math.log(m / n)
    return (F.softplus(shift - near) + F.softplus(far - shift).sum(dim=1)).mean(), log_z


class Discrimination(nn.Module):
    """The bank and its loss, for NPID and PIRL."""

    log_z: Tensor

    def __init__(self, dim: int, temperature: float, negatives: int, num_images: int, chance: torch.Generator) -> None:
        super().__init__()
        self.temperature, self.negatives = temperature, negatives
        self.bank = Bank(num_images, dim, chance)
        self.register_buffer("log_z", torch.tensor(0.0 if negatives == 0 else -math.inf))  # -inf until the first step
        self._waiting: tuple[Tensor, Tensor, Tensor] | None = None

    def loss(self, q: Float[Tensor, "v b d"], images: Int64[Tensor, " b"], moved: Float[Tensor, "b d"]) -> Tensor:
        """The mean loss of v projections of each image; the bank moves towards `moved` in `after_step`."""
        own, log_z = images.repeat(len(q)), self.log_z
        if self.negatives == 0:
            loss = softmax_loss(q.flatten(0, 1), self.bank.rows, own, self.temperature)
        else:
            # From the CPU's chance, so that every device and every process draws the same.
            noise = torch.randint(len(self.bank.rows), (self.negatives,)).to(images.device)
            loss, log_z = nce_loss(q.flatten(0, 1), self.bank.rows, own, noise, log_z, self.temperature)
        self._waiting = images, moved.detach(), log_z
        return loss

    @torch.no_grad()
    def after_step(self, keep: float) -> None:
        """Moves the images' rows of the bank, and holds on to the first Z."""
        if self._waiting is not None:
            images, moved, log_z = self._waiting
            self.bank.update(images, moved, keep)
            self.log_z.copy_(log_z)
        self._waiting = None


class Npid(nn.Module):
    """The method around `softmax_loss` and `nce_loss`.

    Departures: two views of each image are told from the bank, which moves by the mean of their projections, where the
    paper has one; its proximal term (eq. 9), which its code does not use either, is left out.
    """

    Params = NpidParams

    def __init__(self, backbone: Backbone, params: NpidParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__()
        self.params = params
        head = mlp([backbone.dim, params.dim], norm=False, last_norm=params.head_norm, affine=False)
        self.net = Encoder(backbone, head)
        self.others = Discrimination(params.dim, params.temperature, params.negatives, num_images, chance)

    def loss(self, views: Views) -> Step:
        """The loss of two views of the same images; the bank waits for `after_step`."""
        h, z = self.net(torch.cat([views.first, views.second]))  # one pass: batch norm sees both views
        q = unit(z).unflatten(0, (2, -1))
        return Step(self.others.loss(q, views.rows, q.mean(dim=0)), {"feature_std": spread(q[0])}, h.chunk(2))

    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the bank."""
        self.others.after_step(self.params.bank_keep)
