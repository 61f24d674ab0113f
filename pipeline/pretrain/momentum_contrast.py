"""What MoCo and its relatives share: a student, a teacher that follows it, and a queue of the teacher's past outputs.

The letters: q is the student's unit projection of one view, k the teacher's of the other; the teacher is the student's
moving average.
"""

from abc import abstractmethod
from typing import TypeVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from pipeline.fit import Step
from pipeline.nn import ema
from pipeline.nn.backbones import Backbone
from pipeline.nn.memory import Queue
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import feature_std, unit
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised


class MomentumContrastParams(MethodParams):
    """The start of the blocks of MoCo and its relatives."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=0)  # 0: a linear head, MoCo v1
    queue_size: int = Field(ge=1)  # never more than there are images
    temperature: float = Field(gt=0)
    momentum_start: float = Field(ge=0, lt=1)  # of the teacher at the first step
    momentum_end: float = Field(ge=0, le=1)
    symmetric: bool  # each view is once the query and once the key


P = TypeVar("P", bound=MomentumContrastParams)


class MomentumContrast(SelfSupervised[P]):
    """Tells an image's own key from the queue; a method says by which loss, in `contrast`."""

    def __init__(self, backbone: Backbone, params: P, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        dims = [backbone.dim, params.hidden_dim, params.dim] if params.hidden_dim else [backbone.dim, params.dim]
        self.student = Encoder(backbone, mlp(dims, norm=False))
        self.teacher = ema.frozen_copy(self.student)
        # A longer queue would always hold an image's own last key as a negative.
        self.queue = Queue(min(params.queue_size, num_images), params.dim, chance)
        self._keys: list[Tensor] = []  # for the queue, after the step

    def loss(self, views: Views) -> Step:
        pairs = [(views.first, views.second), (views.second, views.first)][: 1 + self.params.symmetric]
        self._keys, losses, features = [], [], []
        for first, second in pairs:
            with torch.no_grad():
                h_teacher = self.features(self.teacher, second)
                k = unit(self.teacher.head(h_teacher))
            h = self.features(self.student, first)
            q = unit(self.student.head(h))
            losses.append(self.contrast(q, k))
            self._keys.append(k)
            features += [h] if self.params.symmetric else [h, h_teacher]
        return Step(torch.stack(losses).mean(), {"feature_std": feature_std(q)}, features)

    def features(self, encoder: Encoder, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        """The backbone's, of the student or the teacher."""
        return encoder.backbone(images)

    @abstractmethod
    def contrast(self, q: Float[Tensor, "b d"], k: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
        """The loss of the queries beside the queue as it was before the step."""

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the teacher, then puts the keys in the queue in place of its oldest."""
        momentum = ema.cosine_momentum(self.params.momentum_start, self.params.momentum_end, step / num_steps)
        ema.update(self.teacher, self.student, momentum, buffers=False)
        for k in self._keys:
            self.queue.push(k)
        self._keys = []
