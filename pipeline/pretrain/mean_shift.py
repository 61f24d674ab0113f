"""What MSF and CMSF share: a teacher, a queue of its past embeddings, and a student that is pulled to neighbours there.

The letters: u is the teacher's unit embedding of the second view; v is the student's prediction of it from the first.
"""

from abc import abstractmethod
from typing import ClassVar, TypeVar

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


class MeanShiftParams(MethodParams):
    """The block `pretrain.msf`, and the start of `pretrain.cmsf`."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)  # of the projector and of the predictor
    queue_size: int = Field(ge=1)  # never more than there are images
    neighbours: int = Field(ge=1)  # k, the image's own other view among them
    momentum_start: float = Field(ge=0, lt=1)  # of the teacher at the first step
    momentum_end: float = Field(ge=0, le=1)


P = TypeVar("P", bound=MeanShiftParams)


class MeanShift(SelfSupervised[P]):
    """Pulls the student's prediction to neighbours of the teacher's embedding; a method says which, in `pull`.

    The queue is searched as it will be after the step: it holds the batch, so an image's first neighbour is its own
    other view, and other images of the batch can be neighbours.
    """

    block: ClassVar[str]  # of params.yaml
    head_at = "student.head"

    def __init__(self, backbone: Backbone, params: P, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        dims = [backbone.dim, params.hidden_dim, params.dim]
        self.student = Encoder(backbone, mlp(dims, norm=True))
        self.predictor = mlp([params.dim, *dims[1:]], norm=True)
        self.teacher = ema.frozen_copy(self.student)
        # A longer queue would hold an image's own last embedding as a neighbour.
        self.queue = Queue(min(params.queue_size, num_images), params.dim, chance)
        self.queue.require_rows(params.neighbours, f"{self.block}.neighbours")
        self._embeddings: list[Tensor] = []  # for the queue, after the step

    def loss(self, views: Views) -> Step:
        with torch.no_grad():
            h_teacher, z_teacher = self.teacher(views.second)
        u = unit(z_teacher)
        self._embeddings = [u]
        h, z = self.student(views.first)
        return Step(self.pull(self.predictor(z), u, views), {"feature_std": feature_std(z)}, [h, h_teacher])

    @abstractmethod
    def pull(self, v: Float[Tensor, "b d"], u: Float[Tensor, "b d"], views: Views) -> Float[Tensor, ""]:
        """The loss."""

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the teacher, then puts the embeddings in the queue in place of its oldest."""
        p = self.params
        ema.cosine_update(self.teacher, self.student, p.momentum_start, p.momentum_end, step / num_steps)
        for u in self._embeddings:
            self.queue.push(u)
        self._embeddings = []
