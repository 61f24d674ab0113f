"""What MoCo and its relatives share: a student, a teacher that follows it, and a queue of the teacher's past outputs.

The letters: q is the student's unit projection of one view, k the teacher's of the other; the teacher is the student's
moving average.
"""

from abc import abstractmethod
from typing import ClassVar, TypeVar

import torch
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from torch import Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.fit import Step
from pipeline.nn import ema
from pipeline.nn.backbones import Backbone
from pipeline.nn.memory import Queue
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.norm import apart
from pipeline.nn.primitives import feature_std, soft_ce, unit
from pipeline.parallel import dist
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
    bn_groups: int = Field(ge=1)  # parts of a batch that batch norm sees apart
    symmetric: bool  # each view is once the query and once the key


def moco_loss(
    q: Float[Tensor, "b d"],
    k: Float[Tensor, "b d"],
    queue: Float[Tensor, "m d"],
    temperature: float,
    absent: Bool[Tensor, "b m"] | None = None,
) -> Float[Tensor, ""]:
    """Cross-entropy of q's own key against the queue (He et al., eq. 1), mean over the batch; all rows unit vectors.

    Rows of the queue where `absent` is true do not exist for that query. The batch's other keys are no negatives. No
    gradient reaches k or the queue. With an empty queue it is 0.
    """
    positive = torch.arange(len(q), device=q.device)
    absent = q.new_zeros(len(q), len(queue)).bool() if absent is None else absent
    mask = torch.cat([positive[:, None] != positive, absent], dim=1)
    return soft_ce(q, torch.cat([k, queue]).detach(), positive, temperature, mask)


def forward_in_groups(
    net: nn.Module, images: Float[Tensor, "b c h w"], groups: int, name: str, *, shuffled: bool
) -> Float[Tensor, "b d"]:
    """The network on each of `groups` parts of the batch in turn, so that batch norm sees one part at a time.

    On one device this does what MoCo's shuffled batch norm does across several: with `shuffled`, a batch's parts are
    drawn anew (torch's own chance), so keys and queries do not share their statistics. Where there is one group, and
    batch norm sees each process's images alone, processes exchange the images, as in the paper. Raises ParamsError,
    naming the parameter, if a group would hold fewer than two images, which have no deviation.
    """
    if groups == 1:
        return _exchanged(net, images) if shuffled and apart(net) else net(images)
    if len(images) < 2 * groups:
        raise ParamsError(f"{name}: expected at most {len(images) // 2}, half of a process's batch, got {groups}")
    order = torch.randperm(len(images)) if shuffled else torch.arange(len(images))
    order = order.to(images.device, non_blocking=True)
    out = torch.cat([net(part) for part in images[order].tensor_split(groups)])
    return out[order.argsort()]


def _exchanged(net: nn.Module, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
    """The network's outputs for these images, each made by a process that is drawn anew; no gradient flows back."""
    everyones = dist.gather(images)
    _, own = dist.global_batch(len(images))
    order = torch.randperm(len(everyones)).to(images.device, non_blocking=True)  # the same in all processes
    return dist.gather(net(everyones[order[own]]))[order.argsort()[own]]


P = TypeVar("P", bound=MomentumContrastParams)


class MomentumContrast(SelfSupervised[P]):
    """Tells an image's own key from the queue; a method says by which loss, in `contrast`."""

    block: ClassVar[str]  # where its values stand in params.yaml
    head_at = "student.head"

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
                h_teacher = self._features(self.teacher, second)
                k = unit(self.teacher.head(h_teacher))
            h = self._features(self.student, first)
            q = unit(self.student.head(h))
            losses.append(self.contrast(q, k, views.rows))
            self._keys.append(k)
            features += [h] if self.params.symmetric else [h, h_teacher]
        return Step(torch.stack(losses).mean(), {"feature_std": feature_std(q)}, features)

    def _features(self, encoder: Encoder, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b f"]:
        name, shuffled = f"{self.block}.bn_groups", encoder is self.teacher
        return forward_in_groups(encoder.backbone, images, self.params.bn_groups, name, shuffled=shuffled)

    @abstractmethod
    def contrast(
        self, q: Float[Tensor, "b d"], k: Float[Tensor, "b d"], images: Int64[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        """The loss of the queries, which are of these images, beside the queue as it was before the step."""

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the teacher, then puts the keys in the queue in place of its oldest."""
        p = self.params
        ema.cosine_update(self.teacher, self.student, p.momentum_start, p.momentum_end, step / num_steps)
        for k in self._keys:
            self.queue.push(k)
        self._keys = []
