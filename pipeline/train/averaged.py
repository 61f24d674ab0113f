"""What the semi-supervised methods share: the network and the slow copy of it that becomes the result."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pipeline.nn import ema
from pipeline.nn.classifier import Classifier
from pipeline.parallel import dist
from pipeline.train.batch import Feed
from pipeline.train.centroids import start_at_centroids
from pipeline.train.pixels import Pixels
from pipeline.train.task import Task


class Averaged(nn.Module):
    """A network and its moving average, batch norm's statistics included; `keep` is warmed up (see `ema.warm_keep`).

    A method is made as `Method(backbone, task, params)`; the task has the finest level alone, unless `every_level`.
    """

    every_level = False
    files: Sequence[Path] = ()  # what the method reads beside what all are given

    def __init__(self, net: Classifier, task: Task, keep: float) -> None:
        super().__init__()
        self.net, self.task, self.keep = net, task, keep
        self.slow = copy.deepcopy(net).requires_grad_(requires_grad=False)

    def feed(self, images: Pixels) -> Callable[[int], Any]:
        """The batch of any step, from the training images; here of labelled ones alone."""
        return Feed(images, self.task)

    def start(self, images: Pixels) -> None:
        """What happens once, before the first step of a run that starts from a pretrained backbone.

        Centroids are of features in which batch norm sees labelled and other images; supervised training then shows it
        labelled ones alone.
        """
        if self.task.common.head == "centroids":
            self.train()  # as in the steps to come
            start_at_centroids(self.net, images, self.task.targets)
            self.slow.head.load_state_dict(self.net.head.state_dict())

    def result(self, images: Pixels) -> Classifier:
        """The model to evaluate, from the training images if it remembers some of them."""
        return self.slow

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Moves the slow copy."""
        ema.update(self.slow, self.net, ema.warm_keep(self.keep, step), buffers=True)


def known_ce(logits: Float[Tensor, "b k"], label: Int64[Tensor, " b"]) -> Float[Tensor, ""]:
    """Mean cross-entropy over the images whose label is known (not -1); 0 where none is. See `mean_of`."""
    return mean_of(F.cross_entropy(logits, label, ignore_index=-1, reduction="sum"), (label >= 0).sum())


def mean_of(total: Float[Tensor, ""], count: Int64[Tensor, ""]) -> Float[Tensor, ""]:
    """A sum over `count` images as a mean, 0 where there are none.

    Processes may have different numbers of them: the mean of what this gives to each is the mean over all images.
    """
    return total * dist.world() / dist.total(count).clamp(min=1)
