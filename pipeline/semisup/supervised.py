"""Cross-entropy on the labelled images alone: the floor in every table."""

import torch.nn.functional as F
from pydantic import Field

from pipeline.fit import Step
from pipeline.nn.classifier import Classifier
from pipeline.params import Block
from pipeline.semisup.averaged import Averaged
from pipeline.semisup.batch import Batch


class SupervisedParams(Block):
    """The block `train.supervised`."""

    keep: float = Field(ge=0, lt=1)  # share of the slow copy that is kept at each step


class Supervised(Averaged):
    """The method; the model that it leaves is the slow copy."""

    Params = SupervisedParams
    ratio = 0

    def __init__(self, net: Classifier, params: SupervisedParams) -> None:
        super().__init__(net, params.keep)

    def loss(self, batch: Batch) -> Step:
        """Mean cross-entropy on the weak views."""
        return Step(F.cross_entropy(self.net(batch.labelled).float(), batch.label))
