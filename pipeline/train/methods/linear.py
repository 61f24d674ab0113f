"""Linear: the backbone stays as pretrained and only a linear layer learns, from the labelled images.

The usual measure of pretrained features (Zhang et al. 2016, "Colorful image colorization"), here with few labels.
"""

from pipeline.base.params import Block
from pipeline.nn.backbones import Backbone
from pipeline.train.labelled_only import FrozenNorm
from pipeline.train.task import Task


class LinearParams(Block):
    """The block `train.linear`."""


class Linear(FrozenNorm[LinearParams]):
    """The method; weak views, so that the layer does not learn a few images by heart."""

    Params = LinearParams

    def __init__(self, backbone: Backbone, task: Task, params: LinearParams) -> None:
        super().__init__(backbone, task, params)
        self.net.backbone.requires_grad_(requires_grad=False)
