"""LP-FT: first the linear layer alone, then everything (Kumar et al. 2022).

"Fine-tuning can distort pretrained features": a layer of chance pulls them to where it happens to be. Departures: the
layer learns for a share of the steps, not until it is best, and begins at the centroids of the classes if `train.head`
says so.
"""

from contextlib import nullcontext

import torch
from pydantic import Field
from torch import Tensor

from pipeline.base.errors import ParamsError
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.train.averaged import known_ce
from pipeline.train.batch import Batch
from pipeline.train.methods.linear import Settled
from pipeline.train.methods.supervised import SupervisedParams
from pipeline.train.task import Task


class FinetuneParams(SupervisedParams):
    """The block `train.finetune`."""

    head_share: float = Field(ge=0, le=1)  # share of the steps in which the head alone learns
    backbone_scale: float = Field(gt=0)  # the backbone's learning rate as a multiple of the head's


class Finetune(Settled):
    """The method. `backbone_scale` scales the features' gradient, which with SGD is to scale the backbone's rate.

    Momentum follows, as it is a sum of gradients; weight decay is not scaled.
    """

    Params = FinetuneParams
    progress: Tensor

    def __init__(self, backbone: Backbone, task: Task, params: FinetuneParams) -> None:
        if task.common.optim.name == "lars" and params.backbone_scale != 1:
            raise ParamsError(
                "train.finetune.backbone_scale: expected 1 with lars, which divides by the length of the gradient, "
                f"got {params.backbone_scale}"
            )
        super().__init__(backbone, task, params)
        self.params = params
        self.register_buffer("progress", torch.zeros((), dtype=torch.double))

    def loss(self, batch: Batch) -> Step:
        """Mean cross-entropy on the weak views; at first no gradient reaches the backbone, not even one of zero."""
        head_alone = float(self.progress) < self.params.head_share
        with torch.no_grad() if head_alone else nullcontext():
            h = self.net.backbone(batch.labelled)
        if h.requires_grad:
            h.register_hook(lambda gradient: gradient * self.params.backbone_scale)
        return Step(known_ce(self.net.head(h)["label"].float(), batch.label[:, 0]))

    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the slow copy, and remembers how much of the run is done."""
        super().after_step(step, num_steps)
        self.progress.fill_(step / num_steps)
