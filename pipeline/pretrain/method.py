"""What every self-supervised method is: a class around a backbone, made of its params block, that learns from views."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar, cast

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from pipeline.base.params import Block
from pipeline.fit import Method
from pipeline.nn.architecture import Architecture
from pipeline.nn.backbones import Backbone
from pipeline.pretrain.feed import Views
from pipeline.views.kinds import ContrastiveView

COLLAPSED = 0.1  # feature_std below which projections count as collapsed
EARLY = 0.1  # share of the steps in which a network with random weights may still map all images to nearly one point
log = logging.getLogger(__name__)


class MethodParams(Block):
    """The block `pretrain.<method>`."""

    @property
    def files(self) -> list[Path]:
        """What the method reads beside the images."""
        return []


P = TypeVar("P", bound=MethodParams)


class SelfSupervised(Method[Views], Generic[P]):
    """A method that trains a backbone in place and never meets a label.

    `num_images` counts the training images; what the method draws at its construction comes from `chance`, its heads'
    weights from torch's own. Each step logs `feature_std` of the projections, and gives the backbone's features of both
    views where there are two.
    """

    num_views: ClassVar[int] = 2  # of each image: 2 or 1
    whole_images: ClassVar[bool] = True  # upright ones, for batch norm; else its statistics are renewed at the end

    Params: ClassVar[type[MethodParams]]
    architecture: ClassVar[type] = Architecture  # kind of backbones that it trains
    takes_local: ClassVar[bool] = False  # whether it learns from small views too
    by_adamw: ClassVar[bool] = False  # whether its paper trains by AdamW, and SGD is known to fail or was not tried
    head_at: ClassVar[str] = "encoder.head"  # where its projection head is; "": it has none

    def __init__(self, backbone: Backbone, params: P, num_images: int, chance: torch.Generator) -> None:
        super().__init__()
        del num_images, chance  # for methods that remember images or draw
        self.params = params
        self.feature_dim = backbone.dim

    @property
    def projector(self) -> nn.Sequential:
        """The head that makes projections of the backbone's features; without layers if there is none. It is kept."""
        return cast(nn.Sequential, self.get_submodule(self.head_at)) if self.head_at else nn.Sequential()

    def see(self, images: UInt8[Tensor, "n c h w"] | None, views: Sequence[ContrastiveView]) -> None:
        """Shows a method all training images, on its device, and its views; no images if streamed."""


class AddOn(Method[Views]):
    """Terms beside a method's own loss; what is kept of it in the end is the method's."""

    def __init__(self, base: "SelfSupervised | AddOn") -> None:
        super().__init__()
        self.base, self.constant_rate, self.rate_scale = base, base.constant_rate, base.rate_scale

    @property
    def projector(self) -> nn.Sequential:
        """The base's; heads of the terms are left behind."""
        return self.base.projector

    def after_step(self, step: int, num_steps: int) -> None:
        self.base.after_step(step, num_steps)

    def see(self, images: UInt8[Tensor, "n c h w"] | None, views: Sequence[ContrastiveView]) -> None:
        self.base.see(images, views)


class CollapseWarning:
    """Warns once when the projections of all images come to point one way; it is given each row of the curve."""

    def __init__(self, num_steps: int) -> None:
        self._num_steps, self._warned = num_steps, False

    def __call__(self, row: dict[str, float]) -> None:
        if row["feature_std"] < COLLAPSED and row["step"] > EARLY * self._num_steps and not self._warned:
            self._warned = True
            log.warning(
                "step %d of %d: representations collapse: feature_std %.3f, 1 when spread evenly; a lower "
                "pretrain.optim.learning_rate or another pretrain.method may help",
                row["step"],
                self._num_steps,
                row["feature_std"],
            )
