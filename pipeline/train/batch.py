"""What a semi-supervised step is given, and where it comes from."""

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
from pipeline.train.pixels import Ahead, Pixels
from pipeline.train.task import Task
from pipeline.views.augment import Chance
from pipeline.views.kinds import StrongView, WeakView


@dataclass(frozen=True)
class Batch:
    """Weak views of labelled images with their classes at each level (-1: not known); views of unlabelled images."""

    labelled: Float[Tensor, "b c h w"]
    label: Int64[Tensor, "b l"]
    views: Sequence[Float[Tensor, "u c h w"]]  # each of the same images
    rows: Int64[Tensor, " u"]  # which images they are

    @property
    def num_images(self) -> int:
        """All views that go through the network."""
        return len(self.labelled) + sum(len(view) for view in self.views)


class Feed:
    """The batch of any step, as a function of (seed, step). The labelled images are among the unlabelled ones too.

    `train.batch_size` counts the labelled images of all processes; each gets its part of them, and of the others.
    """

    def __init__(
        self, images: Pixels, task: Task, *, ratio: int = 0, views: Sequence[WeakView | StrongView] = ()
    ) -> None:
        """`ratio` unlabelled images for each labelled one, and for each of them these `views`."""
        self._task, self._ratio, self._views, self._device = task, ratio, views, images.device
        size, processes = task.common.batch_size, dist.world()
        if not task.common.sync_bn and size < 2 * processes:
            raise ParamsError(
                f"train.batch_size: expected two labelled images for each of {processes} processes without sync_bn, "
                f"got {size}"
            )
        self._own = size, dist.share(size, "train.batch_size")
        self._others = size * ratio, dist.share(size * ratio, "train.batch_size")
        names = (task.seed, "train", "labelled")
        balanced = task.common.sampling == "classes"
        self._known = ByClass(task.targets, *names) if balanced else Order(len(task.targets.rows), *names)
        self._any = images.order(task.seed, "train", "unlabelled")
        self._images = Ahead(images, self._plan)

    def _plan(self, step: int) -> tuple[Int64[Tensor, " r"], Int64[Tensor, "b l"]]:
        """The rows of a step's labelled images, then of its unlabelled ones, and the labels."""
        size, part = self._own
        known = torch.from_numpy(self._known.batch(step, size))[part]
        rows = self._task.targets.rows[known]
        if self._ratio:
            size, part = self._others
            rows = torch.cat([rows, torch.from_numpy(self._any.batch(step, size))[part]])
        return rows, self._task.targets.labels[known]

    def __call__(self, step: int) -> Batch:
        """The batch of a step, on the device of the images."""
        rows, label, raw = self._images(step)
        known, others = raw.tensor_split([len(label)])
        chance = Chance(rng.number(self._task.seed, "train", "views", step))
        labelled = self._task.common.weak(known, chance.over(*self._own))
        chance = chance.over(*self._others)
        views = [view(others, chance) for view in self._views]
        return Batch(labelled, label.to(self._device), views, rows[len(label) :].to(self._device))
