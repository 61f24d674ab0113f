"""UML: few-shot tasks made of unlabelled images, where the views of an image are a class.

Ye, Han and Zhan 2022, "Revisiting unsupervised meta-learning via the characteristics of few-shot tasks". The letters:
p are the unit features of one view of each image, its class's prototype; q are the features of its other views, the
queries, with their length.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.base.errors import ParamsError
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.primitives import feature_std, in_float32, unit
from pipeline.parallel import dist
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised

MIXED = 0.5  # the most that a query makes of its mixes


class UmlParams(MethodParams):
    """The block `pretrain.uml`."""

    way: int = Field(ge=2)  # images, that is classes, of a task; at most those of a batch
    tasks: int = Field(ge=1)  # drawn from each batch
    mixes: int = Field(ge=0)  # further classes of each query: near images mixed with it; cut to the others of a batch


@in_float32
def episode_loss(
    q: Float[Tensor, "v n d"],
    p: Float[Tensor, "n d"],
    tasks: Int64[Tensor, "t w"],
    share: Float[Tensor, "v n m"],
) -> Float[Tensor, ""]:
    """Cross-entropy of softmax(q . p) over the images of a task, mean over tasks, images and query views.

    Each query has m further classes: the m other images nearest to it, its own direction mixed in by `share`, at unit
    length. Gradients reach all. log(w + m) where all of p and the mixes are equal.
    """
    cos = q @ p.T  # v n n
    logits = cos[:, tasks[:, :, None], tasks[:, None]]  # v t w w
    if share.shape[2] > 0:
        itself = torch.eye(len(p), dtype=torch.bool, device=q.device)
        length = q.norm(dim=2, keepdim=True)
        near = (cos / length.clamp(min=torch.finfo(q.dtype).tiny)).masked_fill(itself, -torch.inf)
        found = near.topk(share.shape[2], dim=2).values  # cosines, v n m
        norm = (share**2 + (1 - share) ** 2 + 2 * share * (1 - share) * found).clamp(min=1e-12).sqrt()
        mixed = length * (share + (1 - share) * found) / norm  # v n m
        logits = torch.cat([logits, mixed[:, tasks]], dim=3)
    right = torch.arange(tasks.shape[1], device=q.device).expand(logits.shape[:3])
    return F.cross_entropy(logits.flatten(0, 2), right.flatten())


class Uml(SelfSupervised[UmlParams]):
    """The method around `episode_loss`: the first view makes prototypes, the second and all small ones are queries.

    Features are the backbone's own, without a head. Departures: a task has the same number of queries as there are
    views, two where no small views are asked for; the paper has five queries, of the size of the images.
    """

    Params = UmlParams
    head_at = ""
    takes_local = True

    def __init__(self, backbone: Backbone, params: UmlParams, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.backbone = backbone

    def loss(self, views: Views) -> Step:
        """Raises ParamsError where a batch has fewer images than a task."""
        params = self.params
        h = self.backbone(torch.cat([views.first, views.second])).chunk(2)  # one pass: batch norm sees both views
        total, _ = dist.global_batch(len(h[0]))
        if params.way > total:
            raise ParamsError(f"pretrain.uml.way: expected at most {total}, the images of a batch, got {params.way}")
        others = [h[1]]
        if len(views.local) > 0:
            others += self.backbone(views.local.flatten(0, 1)).unflatten(0, views.local.shape[:2])
        q = torch.stack([dist.gather(of_view) for of_view in others])
        tasks = torch.rand(params.tasks, total).argsort(dim=1)[:, : params.way]
        share = MIXED * torch.rand(len(q), total, min(params.mixes, total - 1))
        drawn = (x.to(q.device, non_blocking=True) for x in (tasks, share))
        loss = episode_loss(q, unit(dist.gather(h[0])), *drawn)
        return Step(loss, {"feature_std": feature_std(unit(h[0]))}, h)
