"""What IFND and InterCLR share: MoCo with clusters of all images, and the image behind each row of the queue."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from pydantic import Field
from torch import Tensor

from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.clusters import Clusters
from pipeline.nn.memory import Numbers
from pipeline.nn.primitives import unit
from pipeline.pretrain.feed import Views
from pipeline.pretrain.momentum_contrast import MomentumContrast, MomentumContrastParams


class ClusteredContrastParams(MomentumContrastParams):
    """The start of the blocks of IFND and InterCLR."""

    clusters: int = Field(ge=2)  # of all training images, found anew after each epoch
    iterations: int = Field(ge=1)  # of k-means

    def counts(self) -> Sequence[int]:
        """The number of clusters of each clustering."""
        return [self.clusters]


P = TypeVar("P", bound=ClusteredContrastParams)


class ClusteredContrast(MomentumContrast[P]):
    """A bank has the mean of the teacher's keys of each image, as of its last batch; its rows are clustered."""

    def __init__(self, backbone: Backbone, params: P, num_images: int, chance: torch.Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.numbers = Numbers(len(self.queue))
        name = f"{self.block}.clusters"
        self.clusters = Clusters(num_images, params.dim, params.counts(), params.iterations, name, chance)
        self._images: Tensor | None = None  # of the keys, for the bank after the step

    def loss(self, views: Views) -> Step:
        self._images = views.rows
        return super().loss(views)

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:
        """Beside MoCo's part, notes the images of the keys and moves the bank; after an epoch, finds the clusters."""
        if self._images is not None:
            for _ in self._keys:
                self.numbers.push(self._images)
            self.clusters.update(self._images, unit(torch.stack(self._keys).sum(dim=0)), step)
        self._images = None
        super().after_step(step, num_steps)
