"""Batches of labelled and unlabelled images, which all methods but PAWS train on."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pipeline.base import rng
from pipeline.base.errors import ParamsError
from pipeline.parallel import dist
from pipeline.shards.order import Order
from pipeline.train.by_class import ByClass
from pipeline.train.pixels import Pixels, images_by_step
from pipeline.train.task import Task
from pipeline.views.chance import Chance
from pipeline.views.kinds import StrongView, WeakView


@dataclass(frozen=True)
class SemiBatch:
    """Weak views of labelled images with their classes at each level (-1: none); views of unlabelled images."""

    labelled: Float[Tensor, "b c h w"]
    label: Int64[Tensor, "b l"]
    views: Sequence[Float[Tensor, "u c h w"]]  # each of the same unlabelled images
    rows: Int64[Tensor, " u"]  # which images they are

    @property
    def num_images(self) -> int:
        """All views that go through the network."""
        return len(self.labelled) + sum(len(view) for view in self.views)


class SemiFeed:
    """The batch of any step, as a function of (seed, step). Labelled images are among the unlabelled ones too.

    `train.batch_size` counts the labelled images of all processes; each process gets its part of every batch.
    """

    def __init__(
        self, images: Pixels, task: Task, *, ratio: int = 0, views: Sequence[WeakView | StrongView] = ()
    ) -> None:
        """`ratio` unlabelled images for each labelled one, each seen in all of these `views`."""
        self._task, self._ratio, self._views, self._device = task, ratio, views, images.device
        size, processes = task.common.batch_size, dist.world()
        if not task.common.sync_bn and size < 2 * processes:
            raise ParamsError(
                f"train.batch_size: expected two labelled images for each of {processes} processes without sync_bn, "
                f"got {size}"
            )
        # The images of all processes, and which of them are this one's.
        self._labelled = size, dist.share(size, "train.batch_size")
        self._unlabelled = size * ratio, dist.share(size * ratio, "train.batch_size")
        names = (task.seed, "train", "labelled")
        by_class = task.common.sampling == "classes"
        self._label_order = ByClass(task.targets, *names) if by_class else Order(len(task.targets.rows), *names)
        self._image_order = images.order(task.seed, "train", "unlabelled")
        self._images = images_by_step(images, self._plan)

    def _plan(self, step: int) -> tuple[Int64[Tensor, " r"], Int64[Tensor, "b l"]]:
        """The rows of a step's labelled images, then of its unlabelled ones; and the labels."""
        size, part = self._labelled
        chosen = torch.from_numpy(self._label_order.batch(step, size))[part]
        rows = self._task.targets.rows[chosen]
        if self._ratio:
            size, part = self._unlabelled
            rows = torch.cat([rows, torch.from_numpy(self._image_order.batch(step, size))[part]])
        return rows, self._task.targets.labels[chosen]

    def __call__(self, step: int) -> SemiBatch:
        """The batch of a step, on the device of the images."""
        rows, label, pixels = self._images(step)
        labelled, unlabelled = pixels.tensor_split([len(label)])
        chance = Chance(rng.number(self._task.seed, "train", "views", step))
        weak = self._task.common.weak(labelled, chance.over(*self._labelled))
        chance = chance.over(*self._unlabelled)
        views = [view(unlabelled, chance) for view in self._views]
        label, rows = (x.to(self._device, non_blocking=True) for x in (label, rows[len(label) :]))
        return SemiBatch(weak, label, views, rows)
