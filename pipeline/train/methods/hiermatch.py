"""HierMatch: FixMatch or MixMatch at each level of classes, with images labelled at a coarse level only.

Garg et al. 2022, "HIERMATCH: leveraging label hierarchies for improving semi-supervised learning".
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn

from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.classifier import Classifier
from pipeline.train.methods.fixmatch import FixMatch, FixMatchParams
from pipeline.train.methods.mixmatch import MixMatch, MixMatchParams
from pipeline.train.pixels import Pixels
from pipeline.train.task import Task

BASES: dict[str, Any] = {"fixmatch": FixMatch, "mixmatch": MixMatch}  # a method that takes several levels
log = logging.getLogger(__name__)


class HierMatchParams(Block):
    """The block `train.hiermatch`; of the bases' blocks only that of `base` is used."""

    base: Literal["fixmatch", "mixmatch"]
    fixmatch: FixMatchParams
    mixmatch: MixMatchParams


class HierMatch(nn.Module):
    """The base at all levels at once; the levels' losses are summed unweighted.

    An image is unlabelled at the levels finer than its label. A coarse label moves the coarse slices of the features
    and never, by the wall in `Levels`, those that finer classes are told by.
    Departure: one batch and one pass serve all levels, where the authors draw a batch for each.
    """

    every_level = True
    files: Sequence[Path] = ()
    Params = HierMatchParams

    def __init__(self, backbone: Backbone, task: Task, params: HierMatchParams) -> None:
        super().__init__()
        if len(task.targets.names) == 1:
            log.info("labels are of a single level: hiermatch is %s", params.base)
        self.base = BASES[params.base](backbone, task, getattr(params, params.base))

    def feed(self, images: Pixels) -> Callable[[int], Any]:
        """The base's batches."""
        return self.base.feed(images)

    def start(self, images: Pixels) -> None:
        """The base's start, at every level."""
        self.base.start(images)

    def loss(self, batch: Any) -> Step:
        """The base's loss, summed over the levels."""
        return self.base.loss(batch)

    def after_step(self, step: int, num_steps: int) -> None:
        """What the base remembers."""
        self.base.after_step(step, num_steps)

    def result(self, images: Pixels) -> Classifier:
        """The base's model, which names the classes of each level."""
        return self.base.result(images)
