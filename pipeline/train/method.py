"""What every training method is, and what most are: a network and the moving average of its weights."""

import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pipeline.base.params import Block
from pipeline.fit import Batch, Method
from pipeline.nn import ema
from pipeline.nn.backbones import Backbone
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import Head, Levels
from pipeline.train.head_start import start_head
from pipeline.train.pixels import Pixels
from pipeline.train.task import Task

P = TypeVar("P", bound=Block)


class TrainMethod(Method[Batch], Generic[Batch, P]):
    """A way to train a classifier from few labels, made as `Method(backbone, task, params)`.

    Its task has the finest level of classes alone, unless the method takes `every_level`.
    """

    Params: type[P]
    every_level = False
    guesses = False  # whether it guesses the class of unlabelled images: only then it reads `train.targets`
    files: Sequence[Path] = ()  # what this method reads beside what every method is given

    def __init__(self, backbone: Backbone, task: Task, params: P) -> None:
        super().__init__()
        self.task, self.params = task, params

    @abstractmethod
    def feed(self, images: Pixels) -> Callable[[int], Batch]:
        """The function that gives the batch of any step, from the training images."""

    @abstractmethod
    def start(self, images: Pixels) -> None:
        """What happens once, before the first step of a run that starts from a pretrained backbone."""

    @abstractmethod
    def result(self, images: Pixels) -> Classifier:
        """The model to evaluate; a method that compares with training images puts them into it here."""


class EmaMethod(TrainMethod[Batch, P]):
    """`net` learns; `ema_net`, the moving average of its weights and running statistics, is the model that is left.

    The average's momentum is `train.ema_momentum`, warmed up by `ema.warm_momentum`.
    """

    def __init__(self, backbone: Backbone, task: Task, params: P) -> None:
        super().__init__(backbone, task, params)
        self.net = Classifier(backbone, self.head(backbone.dim), task.size)
        self.ema_net = copy.deepcopy(self.net).requires_grad_(requires_grad=False)

    def head(self, dim: int) -> Head:
        """The head of a backbone with `dim` features: a linear layer for each level of classes."""
        return Levels(dim, self.task.targets.names)

    def start(self, images: Pixels) -> None:
        """Linear layers start as `train.head` says.

        Batch norm sees labelled and other images together here, also where training shows it labelled ones alone.
        """
        self.train()  # as in the steps to come
        start_head(self.net, images, self.task)
        self.ema_net.head.load_state_dict(self.net.head.state_dict())

    def guess(
        self,
        own: Float[Tensor, "u k"],
        rows: Int64[Tensor, " u"],
        level: int = 0,
        classes: Int64[Tensor, " k"] | None = None,
    ) -> Float[Tensor, "u k"]:
        """What is taught of the images `rows`: this network's `own` prediction and, with `train.targets`, the graph's.

        The graph's share falls linearly to 0; it speaks of the finest level alone. `own` may be of some `classes`.
        """
        common = self.task.common
        if common.targets == "own" or level > 0:
            return own
        assert self.task.graph is not None
        return self.task.graph.mixed(own, rows, common.targets_share * (1 - self.progress), classes)

    def result(self, images: Pixels) -> Classifier:
        return self.ema_net

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        momentum = ema.warm_momentum(self.task.common.ema_momentum, step)
        ema.update(self.ema_net, self.net, momentum, buffers=True)
