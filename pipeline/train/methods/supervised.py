"""Cross-entropy on the labelled images alone: the baseline in every table."""

from pipeline.base.params import Block
from pipeline.train.labelled_only import LabelledOnly


class SupervisedParams(Block):
    """The block `train.supervised`."""


class Supervised(LabelledOnly[SupervisedParams]):
    """The method."""

    Params = SupervisedParams
