"""Cross-entropy on the labelled images alone: the floor in every table."""

from pydantic import Field

from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import Levels
from pipeline.train.averaged import Averaged, known_ce
from pipeline.train.batch import Batch
from pipeline.train.task import Task


class SupervisedParams(Block):
    """The block `train.supervised`."""

    keep: float = Field(ge=0, lt=1)  # share of the slow copy that is kept at each step


class Supervised(Averaged):
    """The method; the model that it leaves is the slow copy."""

    Params = SupervisedParams

    def __init__(self, backbone: Backbone, task: Task, params: SupervisedParams) -> None:
        net = Classifier(backbone, Levels(backbone.dim, task.targets.names), task.size)
        super().__init__(net, task, params.keep)

    def loss(self, batch: Batch) -> Step:
        """Mean cross-entropy on the weak views."""
        return Step(known_ce(self.net(batch.labelled)["label"].float(), batch.label[:, 0]))
