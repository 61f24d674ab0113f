"""Batches for PAWS, NNCSL and GCD: views of labelled images of each class, large and small views of unlabelled ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.base import rng
from pipeline.base.params import Block
from pipeline.parallel import dist
from pipeline.train.by_class import supports
from pipeline.train.pixels import Pixels, images_by_step
from pipeline.train.task import Task
from pipeline.views.chance import Chance
from pipeline.views.kinds import LocalCrops


class PawsFeedParams(Block):
    """What a batch is made of, in the blocks of the methods that take one."""

    per_class: int = Field(ge=1)  # labelled images of each class in a batch, some of them several times if need be
    classes: int = Field(ge=1)  # classes in a batch, at most
    num_unlabelled: int = Field(ge=2)  # images in a batch, drawn from all


@dataclass(frozen=True)
class PawsBatch:
    """Both views of the supports, all first views first, and views of unlabelled images.

    Support i is of class `classes[place[i]]`; the classes are those of this step, in order.
    """

    labelled: Float[Tensor, "s c h w"]
    place: Int64[Tensor, " s"]
    classes: Int64[Tensor, " r"]
    views: Sequence[Float[Tensor, "u c h w"]]  # two, each of the same images
    rows: Int64[Tensor, " u"]  # which images they are
    local: Float[Tensor, "v u c _ _"]  # small views of the same images; v is 0 where none are asked for

    @property
    def label(self) -> Int64[Tensor, " s"]:
        """The class of each support."""
        return self.classes[self.place]

    @property
    def num_images(self) -> int:
        """All views that go through the network."""
        return len(self.labelled) + sum(len(view) for view in self.views) + self.local.shape[:2].numel()


class PawsFeed:
    """The batch of any step, as a function of (seed, step). Labelled images are among the unlabelled ones too.

    Supports and unlabelled images are those of all processes; each process gets its part of both.
    """

    def __init__(
        self,
        images: Pixels,
        task: Task,
        params: PawsFeedParams,
        local: LocalCrops | None = None,
    ) -> None:
        self._task, self._params, self._device = task, params, images.device
        block, num_unlabelled = f"train.{task.common.method}", params.num_unlabelled
        size = params.per_class * min(params.classes, len(task.targets.labelled_classes))
        self._labelled = size, dist.share(size, f"{block}.per_class times the classes of a batch")
        self._unlabelled = num_unlabelled, dist.share(num_unlabelled, f"{block}.num_unlabelled")
        self._local = (local, local.size(task.size, f"{block}.local")) if local and local.count else None
        self._image_order = images.order(task.seed, "train", "unlabelled")
        self._images = images_by_step(images, self._plan)

    def _plan(self, step: int) -> tuple[Int64[Tensor, " b"], tuple[Int64[Tensor, " r"], Int64[Tensor, " p"]]]:
        """The rows of a step's supports, then of its unlabelled images; its classes, and which is each support's."""
        targets, params, (_, part) = self._task.targets, self._params, self._labelled
        chosen = torch.from_numpy(supports(targets, params.per_class, params.classes, self._task.seed, step))
        classes, place = targets.labels[chosen, 0].unique(return_inverse=True)
        size, unlabelled = self._unlabelled
        rows = torch.from_numpy(self._image_order.batch(step, size))[unlabelled]
        return torch.cat([targets.rows[chosen[part]], rows]), (classes, place[part])

    def __call__(self, step: int) -> PawsBatch:
        """The batch of a step, on the device of the images; all views are drawn independently."""
        rows, (classes, place), pixels = self._images(step)
        view = self._task.common.view
        labelled_pixels, unlabelled = pixels.tensor_split([len(place)])
        chance = Chance(rng.number(self._task.seed, "train", "views", step)).over(*self._labelled)
        labelled = torch.cat([view(labelled_pixels, chance) for _ in range(2)])
        chance = chance.over(*self._unlabelled)
        views = [view(unlabelled, chance) for _ in range(2)]
        local = unlabelled.new_empty(0, *unlabelled.shape, dtype=torch.float32)
        if self._local is not None:
            crops, size = self._local
            small = crops.view(view)
            local = torch.stack([small(unlabelled, chance, size) for _ in range(crops.count)])
        place, classes, rows = (
            x.to(self._device, non_blocking=True) for x in (place.repeat(2), classes, rows[len(place) :])
        )
        return PawsBatch(labelled, place, classes, views, rows, local)
