"""MoCo v2: tell an image's other view, seen by a slow copy of the network, from a queue of the copy's past outputs.

He et al. 2020, "Momentum contrast", and Chen et al. 2020, "Improved baselines". The letters: q and k are the unit
projections of two views by the network and by its slow copy; T is the temperature.
"""

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pipeline.fit import Step
from pipeline.nn import ema, schedule
from pipeline.nn.backbones import Backbone
from pipeline.nn.heads import UnitMlp, in_groups
from pipeline.params import Block
from pipeline.selfsup.feed import Views


class MocoParams(Block):
    """The block `pretrain.moco`."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)
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

    No gradient reaches k or the queue. With an empty queue it is 0.
    """
    own = (q * k.detach()).sum(dim=1, keepdim=True)
    logits = torch.cat([own, q @ queue.detach().T], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device))


class Moco(nn.Module):
    """The method around `moco_loss`; symmetric means that each view is once the query and once the key."""

    Params = MocoParams
    queue: Tensor
    place: Tensor

    def __init__(self, backbone: Backbone, params: MocoParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__()
        # A longer queue would hold an image's own last key as a negative.
        queue_size = min(params.queue_size, num_images)
        self.params = params
        self.online = nn.Sequential(backbone, UnitMlp(backbone.dim, params.hidden_dim, params.dim))
        self.slow = copy.deepcopy(self.online).requires_grad_(requires_grad=False)
        queue = torch.randn(queue_size, params.dim, generator=chance)
        self.register_buffer("queue", F.normalize(queue, dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))
        self._keys: list[Tensor] = []

    def loss(self, views: Views) -> Step:
        """The loss of two views of the same images; their keys wait for `after_step`."""
        pairs = [views, views[::-1]] if self.params.symmetric else [views]
        self._keys, losses = [], []
        for first, second in pairs:
            with torch.no_grad():
                k = in_groups(self.slow, second, self.params.bn_groups, shuffled=True)
            q = in_groups(self.online, first, self.params.bn_groups, shuffled=False)
            losses.append(moco_loss(q, k, self.queue, self.params.temperature))
            self._keys.append(k)
        return Step(torch.stack(losses).mean(), {"feature_std": spread(q)})

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the slow copy, then puts the keys in the queue in place of its oldest."""
        keep = schedule.cosine(self.params.keep_start, self.params.keep_end, step / num_steps)
        ema.update(self.slow, self.online, keep, buffers=False)
        keys = torch.cat(self._keys)[-len(self.queue) :]
        places = (self.place + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        self.queue[places] = keys
        self.place.copy_((self.place + len(keys)) % len(self.queue))
        self._keys = []


def spread(z: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Standard deviation of unit vectors over a batch, times sqrt(d): 1 when spread evenly, 0 when collapsed."""
    return z.detach().std(dim=0).mean() * z.shape[1] ** 0.5
