"""Linear: the backbone stays as pretrained and only a linear layer learns, from the labelled images.

The usual measure of pretrained features (Zhang et al. 2016, "Colorful image colorization"), here with few labels.
"""

from pipeline.base.errors import ParamsError
from pipeline.nn.backbones import Backbone
from pipeline.train.methods.supervised import Supervised, SupervisedParams
from pipeline.train.task import Task


class LinearParams(SupervisedParams):
    """The block `train.linear`."""


class Settled(Supervised):
    """Supervised training with the backbone in eval mode throughout: batch norm keeps its pretrained statistics."""

    Params: type[SupervisedParams] = SupervisedParams

    def __init__(self, backbone: Backbone, task: Task, params: SupervisedParams) -> None:
        if task.common.start == "scratch":
            raise ParamsError(
                f"train.start: expected pretrained for {task.common.method}, whose batch norm stays as pretrained, "
                "got scratch"
            )
        super().__init__(backbone, task, params)

    def train(self, mode: bool = True) -> "Settled":
        """Train mode for all but the backbone."""
        super().train(mode)
        self.net.backbone.eval()
        return self


class Linear(Settled):
    """The method; weak views, so that a few images are not learnt by heart."""

    Params = LinearParams

    def __init__(self, backbone: Backbone, task: Task, params: LinearParams) -> None:
        super().__init__(backbone, task, params)
        self.net.backbone.requires_grad_(requires_grad=False)
