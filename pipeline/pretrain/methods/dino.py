"""DINO: tell from any other view which prototypes a teacher, the network's moving average, sees in a large one.

Caron et al. 2021, "Emerging properties in self-supervised vision transformers". The letters: z are unit projections of
the views; scores are their cosines with k prototypes; q are the teacher's shares of the prototypes, sharpened and
centred.
"""

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pipeline.fit import Step
from pipeline.nn import ema
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import mlp
from pipeline.nn.primitives import feature_std, in_float32, unit
from pipeline.parallel import dist
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised
from pipeline.pretrain.prototypes import all_features, learnt, swapped_loss


class DinoParams(MethodParams):
    """The block `pretrain.dino`."""

    dim: int = Field(ge=1)  # of the projections, which are compared with the prototypes
    hidden_dim: int = Field(ge=1)  # of two hidden layers
    prototypes: int = Field(ge=2)
    temperature: float = Field(gt=0)  # of the student
    target_temperature_start: float = Field(gt=0)  # of the teacher at the first step
    target_temperature: float = Field(gt=0)  # of the teacher once it has risen
    target_warmup: float = Field(ge=0, le=1)  # share of the steps in which it rises linearly
    centre_momentum: float = Field(ge=0, lt=1)  # of the mean of the teacher's scores
    momentum_start: float = Field(ge=0, lt=1)  # of the teacher at the first step
    momentum_end: float = Field(ge=0, le=1)
    frozen: float = Field(ge=0, le=1)  # share of the steps in which the prototypes stay as they were drawn


@in_float32
@torch.no_grad()
def dino_targets(
    scores: Float[Tensor, "*b k"], centre: Float[Tensor, " k"], temperature: float
) -> Float[Tensor, "*b k"]:
    """softmax((scores - centre) / temperature): each row sums to 1. No gradient passes.

    The centre keeps one prototype from taking all images, the temperature keeps all from having equal shares.
    """
    return ((scores - centre) / temperature).softmax(dim=-1)


class Network(nn.Module):
    """A backbone with a projection head and prototypes."""

    def __init__(self, backbone: Backbone, params: DinoParams, chance: torch.Generator) -> None:
        super().__init__()
        dims = [backbone.dim, params.hidden_dim, params.hidden_dim, params.dim]
        self.backbone, self.head = backbone, mlp(dims, norm=False, activation=nn.GELU)
        self.prototypes = nn.Parameter(torch.randn(params.prototypes, params.dim, generator=chance))

    def scores(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
        """Cosines of the images' projections with the prototypes."""
        return unit(self.head(self.backbone(images))) @ unit(self.prototypes).T


class Dino(SelfSupervised[DinoParams]):
    """The method: `swapped_loss` on `dino_targets`.

    The prototypes count by their directions alone, as the authors' weight norm of length 1 has it. Departures: the
    student's backbone is the result, where the authors keep the teacher's; it has no stochastic depth; the temperature
    rises from step to step, not from epoch to epoch.
    """

    Params = DinoParams
    head_at = "student.head"
    takes_local = True
    by_adamw = True
    centre: Tensor

    def __init__(self, backbone: Backbone, params: DinoParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.student = Network(backbone, params, chance)
        self.teacher = ema.frozen_copy(self.student)
        self.register_buffer("centre", torch.zeros(params.prototypes))
        self._mean: Tensor | None = None  # of the teacher's scores in this process's batch, for the centre

    def loss(self, views: Views) -> Step:
        p, size = self.params, len(views.first)
        scores = self._scores(views)
        self._mean = scores.mean(dim=0)
        q = dino_targets(scores, self.centre, self._target_temperature()).unflatten(0, (2, size))
        h = all_features(self.student.backbone, views)
        z = unit(self.student.head(h)).unflatten(0, (-1, size))
        prototypes = learnt(self.student.prototypes, self.progress, p.frozen)
        loss = swapped_loss(z, q, unit(prototypes), p.temperature)
        return Step(loss, {"feature_std": feature_std(z[0])}, list(h[: 2 * size].chunk(2)))

    @torch.no_grad()
    def _scores(self, views: Views) -> Float[Tensor, "n k"]:
        """The teacher's of both large views, in one pass."""
        return self.teacher.scores(torch.cat([views.first, views.second]))

    def _target_temperature(self) -> float:
        p = self.params
        risen = min(self.progress / p.target_warmup, 1.0) if p.target_warmup > 0 else 1.0
        return p.target_temperature_start + (p.target_temperature - p.target_temperature_start) * risen

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the teacher, and the centre towards the mean of the scores of all processes."""
        p = self.params
        ema.cosine_update(self.teacher, self.student, p.momentum_start, p.momentum_end, step / num_steps)
        if self._mean is not None:
            mean = dist.total(self._mean.to(self.centre.dtype)) / dist.world()
            self.centre.lerp_(mean, 1 - p.centre_momentum)
        self._mean = None
