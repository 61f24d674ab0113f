"""LP-FT: first the linear layer alone learns, then everything (Kumar et al. 2022).

"Fine-tuning can distort pretrained features": a random layer pulls them to where it happens to be. Departures: the
layer learns for a share of the steps, not until it is best, and starts at the class centroids if `train.head` says so.
"""

from contextlib import nullcontext

import torch
from pydantic import Field

from pipeline.base.errors import ParamsError
from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.train.batch import SemiBatch
from pipeline.train.labelled_only import FrozenNorm
from pipeline.train.losses import labelled_ce
from pipeline.train.task import Task


class FinetuneParams(Block):
    """The block `train.finetune`."""

    head_share: float = Field(ge=0, le=1)  # share of the steps in which the head alone learns
    backbone_scale: float = Field(gt=0)  # the backbone's learning rate as a multiple of the head's
    head_layer: int = Field(ge=0)  # hidden layers of pretraining's head that stay, and that the classifier stands on


class Finetune(FrozenNorm[FinetuneParams]):
    """The method. `backbone_scale` scales the features' gradient, which with SGD is to scale the backbone's rate.

    Momentum follows, as it is a sum of gradients; weight decay is not scaled.
    """

    Params = FinetuneParams

    def __init__(self, backbone: Backbone, task: Task, params: FinetuneParams) -> None:
        if task.common.optim.name == "lars" and params.backbone_scale != 1:
            raise ParamsError(
                "train.finetune.backbone_scale: expected 1 with lars, which divides by the length of the gradient, "
                f"got {params.backbone_scale}"
            )
        super().__init__(backbone, task, params)

    def loss(self, batch: SemiBatch) -> Step:
        """Mean cross-entropy on the weak views; at first no gradient reaches the backbone, not even one of zero."""
        head_alone = self.progress < self.params.head_share
        with torch.no_grad() if head_alone else nullcontext():
            h = self.net.backbone(batch.labelled)
        if h.requires_grad:
            h.register_hook(lambda gradient: gradient * self.params.backbone_scale)
        return Step(labelled_ce(self.net.head(h)["label"].float(), batch.label[:, 0]))
