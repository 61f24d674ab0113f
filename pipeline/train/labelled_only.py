"""Methods that train on the labelled images alone: supervised, linear, finetune."""

from collections.abc import Callable
from typing import TypeVar

from pipeline.base.errors import ParamsError
from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.train.batch import SemiBatch, SemiFeed
from pipeline.train.losses import labelled_ce
from pipeline.train.method import EmaMethod
from pipeline.train.pixels import Pixels
from pipeline.train.task import Task

P = TypeVar("P", bound=Block)


class LabelledOnly(EmaMethod[SemiBatch, P]):
    """Cross-entropy on weak views of the labelled images."""

    def feed(self, images: Pixels) -> Callable[[int], SemiBatch]:
        return SemiFeed(images, self.task)

    def loss(self, batch: SemiBatch) -> Step:
        return Step(labelled_ce(self.net(batch.labelled)["label"].float(), batch.label[:, 0]))


class FrozenNorm(LabelledOnly[P]):
    """The same with the backbone in eval mode throughout: batch norm keeps its pretrained statistics."""

    def __init__(self, backbone: Backbone, task: Task, params: P) -> None:
        if task.common.start == "scratch":
            raise ParamsError(
                f"train.start: expected pretrained for {task.common.method}, whose batch norm stays as pretrained, "
                "got scratch"
            )
        super().__init__(backbone, task, params)

    def train(self, mode: bool = True) -> "FrozenNorm[P]":
        """Train mode for all but the backbone."""
        super().train(mode)
        self.net.backbone.eval()
        return self
