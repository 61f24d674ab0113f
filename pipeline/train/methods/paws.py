"""PAWS: a view's class, by its similarity to labelled images, is taught to the other views (Assran et al. 2021).

"Semi-supervised learning of visual features by non-parametrically predicting view assignments with support samples".
"""

import logging

import torch

from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.train.by_supports import Among, BySupports, SupportParams
from pipeline.train.paws_feed import PawsBatch
from pipeline.train.task import Task

log = logging.getLogger(__name__)


class Paws(BySupports[SupportParams]):
    """The method; `BySupports` has its departures."""

    Params = SupportParams

    def __init__(self, backbone: Backbone, task: Task, params: SupportParams) -> None:
        super().__init__(backbone, task, params)
        num_labelled = len(task.targets.labelled_classes)
        if num_labelled > params.classes:
            says = "each batch has supports of %d of the %d classes with a label: train.paws.classes"
            log.info(says, params.classes, num_labelled)

    def loss(self, batch: PawsBatch) -> Step:
        """The unlabelled loss, the me-max term and the linear layer's loss, which touches that layer only."""
        every = Among(batch.classes, torch.arange(len(batch.classes), device=batch.place.device))
        logs = self.paws(batch, self.outputs(batch, gradient=0.0), every)
        return Step(logs["unlabelled"] + self.params.me_max * logs["me_max"] + logs["labelled"], logs)
