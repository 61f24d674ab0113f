"""MIRA: SwAV's swapped prediction, with targets that keep what they tell of the image instead of an even use.

Lee et al. 2022, "Unsupervised visual representation learning via mutual information regularized assignment". The
letters: y are the teacher's unit projections of the two large views, p their softmax over the prototypes, w the
targets; the teacher is the student's moving average.
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from pipeline.fit import Step
from pipeline.nn import ema
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import feature_std, in_float32, unit
from pipeline.parallel import dist
from pipeline.pretrain.feed import Views
from pipeline.pretrain.prototypes import PrototypeMethod, PrototypeParams, all_features, swapped_loss

LEAST = 1e-30  # share of a prototype


class MiraParams(PrototypeParams):
    """The block `pretrain.mira`."""

    target_temperature: float = Field(gt=0)  # of p: the lower, the harder the targets
    beta_start: float = Field(ge=0, lt=1)  # weight of the mutual information at the first step
    beta_end: float = Field(ge=0, lt=1)
    momentum_start: float = Field(ge=0, lt=1)  # of the teacher at the first step
    momentum_end: float = Field(ge=0, le=1)


@in_float32
@torch.no_grad()
def mira_targets(
    y: Float[Tensor, "v b d"], prototypes: Float[Tensor, "k d"], temperature: float, beta: float, iterations: int
) -> Float[Tensor, "v b k"]:
    """The w, for each view apart, that make the mean of KL(w | p) - beta I(w) least; each row sums to 1.

    p = softmax(y . prototypes / temperature), and I is the mutual information of image and prototype over the batch of
    all processes. The iterations are those of the paper's fixed point, with v^(1 / (1 - beta)) in place of its v. With
    beta 0 the targets are p. No gradient passes.
    """
    # Above 0, so that a prototype of no use to float32 has some factor, and weighs nothing.
    s = (y @ prototypes.T / (temperature * (1 - beta))).softmax(dim=2).clamp(min=LEAST)
    factor = _factor(s.sum(dim=1), beta)
    for _ in range(iterations):
        factor = _factor(torch.einsum("vbk,vb->vk", s, 1 / torch.einsum("vbk,vk->vb", s, factor)), beta)
    w = s * factor[:, None]
    return w / w.sum(dim=2, keepdim=True)


def _factor(use: Float[Tensor, "v k"], beta: float) -> Float[Tensor, "v k"]:
    """What each prototype is weighed with, up to a number that all share, from its use by this process's images."""
    return dist.total(use) ** -beta


class Mira(PrototypeMethod[MiraParams]):
    """The method around `swapped_loss` and `mira_targets`.

    Student and teacher share the prototypes, which the authors found better than averaged ones. As in SwAV here, views
    of a size go through the backbone together, and small ones do not move the running statistics of batch norm.
    """

    Params = MiraParams
    head_at = "student.head"

    def __init__(self, backbone: Backbone, params: MiraParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        dims = [backbone.dim, params.hidden_dim, params.hidden_dim, params.dim]
        self.student = Encoder(backbone, mlp(dims, norm=True))
        self.teacher = ema.frozen_copy(self.student)

    def loss(self, views: Views) -> Step:
        p, size = self.params, len(views.first)
        with torch.no_grad():
            y = unit(self.teacher(torch.cat([views.first, views.second]))[1]).unflatten(0, (2, size))
        h = all_features(self.student.backbone, views)
        z = unit(self.student.head(h)).unflatten(0, (-1, size))
        beta = ema.cosine_momentum(p.beta_start, p.beta_end, self.progress)
        w = mira_targets(y, self.prototypes, p.target_temperature, beta, p.iterations)
        loss = swapped_loss(z, w, self.learnt_prototypes(), p.temperature)
        return Step(loss, {"feature_std": feature_std(z[0])}, list(h[: 2 * size].chunk(2)))

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Beside the prototypes, moves the teacher."""
        super().after_step(step, num_steps)
        p = self.params
        ema.cosine_update(self.teacher, self.student, p.momentum_start, p.momentum_end, step / num_steps)
