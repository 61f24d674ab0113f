"""MoCo: tell an image's other view, seen by a slow copy of the network, from a queue of the copy's past outputs.

He et al. 2020, "Momentum contrast" (v1: a linear head, temperature .07), and Chen et al. 2020, "Improved baselines"
(v2: an MLP head, .2). The letters: q and k are the unit projections of two views by the network and by its slow copy.
"""

import copy

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn import ema, schedule
from pipeline.nn.backbones import Backbone
from pipeline.nn.memory import Queue
from pipeline.nn.mlp import Encoder, in_groups, mlp
from pipeline.nn.primitives import soft_ce, spread, unit
from pipeline.pretrain.feed import Views


class MocoParams(Block):
    """The block `pretrain.moco`."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=0)  # 0: a linear head, MoCo v1
    queue_size: int = Field(ge=1)  # never more than there are images
    temperature: float = Field(gt=0)
    keep_start: float = Field(ge=0, lt=1)
    keep_end: float = Field(ge=0, le=1)
    bn_groups: int = Field(ge=1)
    symmetric: bool


def moco_loss(
    q: Float[Tensor, "b d"], k: Float[Tensor, "b d"], queue: Float[Tensor, "m d"], temperature: float
) -> Float[Tensor, ""]:
    """Cross-entropy of q's own key against the queue (He et al., eq. 1), mean over the batch; all rows unit vectors.

    The batch's other keys are no negatives. No gradient reaches k or the queue. With an empty queue it is 0.
    """
    others = torch.cat(
        [~torch.eye(len(q), dtype=torch.bool, device=q.device), q.new_zeros(len(q), len(queue)).bool()], 1
    )
    own = torch.arange(len(q), device=q.device)
    return soft_ce(q, torch.cat([k, queue]).detach(), own, temperature, others)


class Moco(nn.Module):
    """The method around `moco_loss`; symmetric means that each view is once the query and once the key."""

    Params = MocoParams

    def __init__(self, backbone: Backbone, params: MocoParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__()
        self.params = params
        dims = [backbone.dim, params.hidden_dim, params.dim] if params.hidden_dim else [backbone.dim, params.dim]
        self.online = Encoder(backbone, mlp(dims, norm=False))
        self.slow = copy.deepcopy(self.online).requires_grad_(requires_grad=False)
        # A longer queue would always hold an image's own last key as a negative.
        self.queue = Queue(min(params.queue_size, num_images), params.dim, chance)
        self._keys: list[Tensor] = []

    def loss(self, views: Views) -> Step:
        """The loss of two views of the same images; their keys wait for `after_step`."""
        pairs = [(views.first, views.second), (views.second, views.first)][: 1 + self.params.symmetric]
        self._keys, losses, features = [], [], []
        for first, second in pairs:
            with torch.no_grad():
                slow = in_groups(self.slow.backbone, second, self.params.bn_groups, shuffled=True)
                k = unit(self.slow.head(slow))
            h = in_groups(self.online.backbone, first, self.params.bn_groups, shuffled=False)
            q = unit(self.online.head(h))
            losses.append(moco_loss(q, k, self.queue.rows, self.params.temperature))
            self._keys.append(k)
            features += [h] if self.params.symmetric else [h, slow]
        return Step(torch.stack(losses).mean(), {"feature_std": spread(q)}, features)

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the slow copy, then puts the keys in the queue in place of its oldest."""
        keep = schedule.cosine(self.params.keep_start, self.params.keep_end, step / num_steps)
        ema.update(self.slow, self.online, keep, buffers=False)
        for k in self._keys:
            self.queue.push(k)
        self._keys = []
