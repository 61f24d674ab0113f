"""S4L: classify the few labelled images, and predict the rotation of all images (Zhai et al. 2019).

"S4L: Self-supervised semi-supervised learning", its form with rotation.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, UInt8
from pydantic import Field
from torch import Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.classifier import Classifier
from pipeline.nn.turns import TURNS, rotation_loss, turned
from pipeline.train.batch import SemiBatch, SemiFeed
from pipeline.train.losses import labelled_ce
from pipeline.train.method import EmaMethod
from pipeline.train.passes import forward_parts
from pipeline.train.pixels import Pixels
from pipeline.train.task import Task

TURN = "turn"  # the readout of the number of quarter turns


class S4lParams(Block):
    """The block `train.s4l`."""

    ratio: int = Field(ge=1)  # unlabelled images for each labelled one in a batch
    weight: float = Field(ge=0)  # of telling the turns
    turn_labelled: bool  # labelled images count in all four turns, each with its class; false: upright alone


class WithTurns(Classifier):
    """A classifier with one linear layer more on its features, for the turns."""

    def __init__(self, net: Classifier) -> None:
        super().__init__(net.backbone, net.head, net.size)
        self.turn = nn.Linear(net.backbone.dim, TURNS)

    def forward(self, images: Float[Tensor, "b c h w"] | UInt8[Tensor, "b c h w"]) -> dict[str, Float[Tensor, "b _"]]:
        """Logits of the head's readouts, and of the turns."""
        h = self.backbone(images)
        return {**self.head(h), TURN: self.turn(h)}


class S4l(EmaMethod[SemiBatch, S4lParams]):
    """Labelled loss plus `weight` times the mean of the turns' losses on unlabelled and on labelled images.

    Every image comes in all four turns, in weak views. Departure: the paper's views are crops at random scales. Where a
    class depends on which way up its images are, as with 6 and 9, `turn_labelled` teaches the wrong class.
    """

    Params = S4lParams

    def __init__(self, backbone: Backbone, task: Task, params: S4lParams) -> None:
        """Raises ParamsError for images that are not square."""
        if task.size[0] != task.size[1]:
            raise ParamsError(
                f"train.method: expected square images for s4l, which turns them, got {task.size[0]} x {task.size[1]}; "
                "set ingest.size to one number"
            )
        super().__init__(backbone, task, params)
        self.net, self.ema_net = WithTurns(self.net), WithTurns(self.ema_net)
        self.ema_net.load_state_dict(self.net.state_dict())
        self.ema_net.requires_grad_(requires_grad=False)

    def feed(self, images: Pixels) -> Callable[[int], SemiBatch]:
        """A weak view of each unlabelled image."""
        return SemiFeed(images, self.task, ratio=self.params.ratio, views=(self.task.common.weak,))

    def loss(self, batch: SemiBatch) -> Step:
        """The curve has both parts, as `labelled` and `turns`."""
        parts = [turned(batch.labelled).flatten(0, 1), turned(batch.views[0]).flatten(0, 1)]
        labelled, unlabelled = forward_parts(self.net, parts, self.task.common.batch_norm)
        counted = TURNS if self.params.turn_labelled else 1
        label = batch.label[:, 0].repeat(counted)
        supervised = labelled_ce(labelled["label"][: len(label)], label)
        turns = torch.stack([rotation_loss(part[TURN].unflatten(0, (TURNS, -1))) for part in (labelled, unlabelled)])
        logs = {"labelled": supervised, "turns": turns.mean()}
        return Step(supervised + self.params.weight * turns.mean(), logs)

    def result(self, images: Pixels) -> Classifier:
        """Without the layer for the turns."""
        return Classifier(self.ema_net.backbone, self.ema_net.head, self.task.size)
