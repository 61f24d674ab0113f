"""What there is to learn from, and the params that all methods share."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Int64
from pydantic import Field, field_validator
from torch import Tensor

from pipeline.base.params import Block
from pipeline.nn.optim import OptimParams
from pipeline.train.base_run import BaseRun
from pipeline.train.graph_targets import GraphTargets
from pipeline.train.passes import Passes
from pipeline.train.targets import Targets
from pipeline.views.kinds import ContrastiveView, StrongView, WeakView


class TrainParams(Block):
    """The values of `train` that all methods share."""

    method: str
    start: Literal["pretrained", "scratch"]
    frozen: float = Field(ge=0, le=1)  # share of the backbone's layers, the first ones, that stay as pretrained
    head: Literal["centroids", "propagated", "zeros", "random"]  # what linear layers on a pretrained backbone begin as
    targets: Literal["own", "propagated"]  # what unlabelled images are taught: the method's guess, or the graph's too
    targets_share: float = Field(ge=0, le=1)  # of the graph in the guess at step 0, where it counts; falls to 0
    steps: int = Field(ge=1)
    batch_size: int = Field(ge=2)  # labelled images a step, those of all processes together
    sampling: Literal["images", "classes"]  # labelled images come equally often, or classes that have a label do
    batch_norm: Passes
    sync_bn: bool
    ema_momentum: float = Field(ge=0, lt=1)  # of the moving average of the weights, which becomes the result; warmed up
    align_momentum: float = Field(ge=0, lt=1)  # of the mean prediction, where `align` draws it to a goal
    warm_averages: bool  # of predictions, behind alignment and thresholds: never longer than the steps so far
    weak: WeakView
    strong: StrongView
    view: ContrastiveView  # of methods that compare views of an image
    optim: OptimParams

    @field_validator("frozen")
    @classmethod
    def _pretrained(cls, share: float, info: Any) -> float:
        if share > 0 and info.data.get("start") == "scratch":
            raise ValueError("0 with start scratch, as random layers are worth no keeping")
        return share

    @property
    def graph(self) -> bool:
        """Whether anything asks what the graph says."""
        return self.targets == "propagated" or (self.start == "pretrained" and self.head == "propagated")


@dataclass(frozen=True)
class Task:
    """The labels, and how batches of their images and of all `num_images` are made."""

    targets: Targets
    num_images: int
    size: tuple[int, int]  # (height, width) of the images
    common: TrainParams
    seed: int
    graph: GraphTargets | None = None  # where `common.graph`
    base: BaseRun | None = None  # for a method that learns from another run's images too

    @property
    def known(self) -> Int64[Tensor, " n"]:
        """The finest class of each image; -1 where it has none."""
        known = torch.full((self.num_images,), -1)
        known[self.targets.rows] = self.targets.labels[:, 0]
        return known

    def finest(self) -> "Task":
        """The same at the finest level alone."""
        return replace(self, targets=self.targets.finest())
