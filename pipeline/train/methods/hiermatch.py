"""HierMatch: FixMatch or MixMatch at each level of classes, with images that have a coarse label only.

Garg et al. 2022, "HIERMATCH: leveraging label hierarchies for improving semi-supervised learning".
"""

import logging
from collections.abc import Callable
from typing import Literal, TypeVar

from pipeline.base.params import Block
from pipeline.fit import Batch, Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.classifier import Classifier
from pipeline.train.method import TrainMethod
from pipeline.train.pixels import Pixels
from pipeline.train.task import Task

log = logging.getLogger(__name__)
P = TypeVar("P", bound=Block)


class HierMatchParams(Block):
    """The block `train.hiermatch`."""

    base: Literal["fixmatch", "mixmatch"]  # the method at each level, with the values of its own block


class HierMatch(TrainMethod[Batch, HierMatchParams]):
    """The base method at all levels at once; the levels' losses are summed unweighted.

    An image is unlabelled at the levels finer than its label. A coarse label moves the coarse slices of the features
    and never, as `Levels` stops its gradient, those that finer classes are told by.
    With `train.targets: propagated` the graph speaks of the finest level alone.
    Departure: one batch and one pass serve all levels, where the authors draw a batch for each.
    """

    every_level = True
    guesses = True
    Params = HierMatchParams

    def __init__(
        self,
        backbone: Backbone,
        task: Task,
        params: HierMatchParams,
        base: type[TrainMethod[Batch, P]],
        base_params: P,
    ) -> None:
        super().__init__(backbone, task, params)
        if len(task.targets.names) == 1:
            log.info("labels are of a single level: hiermatch is %s", params.base)
        self.base = base(backbone, task, base_params)

    def feed(self, images: Pixels) -> Callable[[int], Batch]:
        return self.base.feed(images)

    def start(self, images: Pixels) -> None:
        self.base.start(images)

    def loss(self, batch: Batch) -> Step:
        return self.base.loss(batch)

    def after_step(self, step: int, num_steps: int) -> None:
        self.base.after_step(step, num_steps)

    def result(self, images: Pixels) -> Classifier:
        return self.base.result(images)
