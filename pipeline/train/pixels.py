"""The training images by their rows, wherever they are: all in memory, or decoded for each batch (streamed.py)."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import count, tee
from typing import TypeVar

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from pipeline.parallel import dist
from pipeline.shards.by_step import ByStep
from pipeline.shards.order import Order

Rows = Int64[Tensor, " _"]  # on the CPU
T = TypeVar("T")


class Pixels(ABC):
    """Images by their rows, from 0 on."""

    device: torch.device  # where they are wanted

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def order(self, seed: int, *names: str) -> Order:
        """The order in which they come, epoch after epoch."""

    @abstractmethod
    def walk(self) -> Rows:
        """All rows, in the order in which they are best gone through once."""

    @abstractmethod
    def some(self, count: int) -> Rows:
        """That many rows, or all where there are no more."""

    @abstractmethod
    def stream(self, wanted: Iterable[Rows]) -> Iterator[UInt8[Tensor, "_ c h w"]]:
        """The images of each of the wanted rows, on the device."""


class Resident(Pixels):
    """Images that are all in memory, on their device."""

    def __init__(self, pixels: UInt8[Tensor, "n c h w"]) -> None:
        self._pixels, self.device = pixels, pixels.device

    def __len__(self) -> int:
        return len(self._pixels)

    def order(self, seed: int, *names: str) -> Order:
        return Order(len(self), seed, *names)

    def walk(self) -> Rows:
        return torch.arange(len(self))

    def some(self, count: int) -> Rows:
        return spaced(len(self), count)

    def stream(self, wanted: Iterable[Rows]) -> Iterator[UInt8[Tensor, "_ c h w"]]:
        for rows in wanted:
            yield self._pixels[rows.to(self.device, non_blocking=True)]


def spaced(num_rows: int, count: int) -> Rows:
    """`count` evenly spaced rows, the first and the last among them; all where there are no more."""
    return torch.linspace(0, num_rows - 1, min(count, num_rows)).long()


def images_by_step(
    images: Pixels, plan: Callable[[int], tuple[Rows, T]]
) -> ByStep[tuple[Rows, T, UInt8[Tensor, "b c h w"]]]:
    """The rows that `plan` gives for a step, what else it gives, and the images of the rows, on their device.

    Plans are functions of the step alone; they are asked for some steps before they are due.
    """

    def values_from(step: int) -> Iterator[tuple[Rows, T, Tensor]]:
        plans, wanted = tee(map(plan, count(step)))
        for (rows, rest), pixels in zip(plans, images.stream(rows for rows, _ in wanted), strict=False):
            yield rows, rest, pixels

    return ByStep(values_from)


@torch.no_grad()
def for_all_images(
    images: Pixels, batch_size: int, width: int, work: Callable[[UInt8[Tensor, "b c h w"]], Float[Tensor, "b d"]]
) -> Float[Tensor, "n d"]:
    """`work`'s output for each image, `width` numbers, from `batch_size` images at a time.

    Each of several processes does its share of the work, and all get the whole table.
    """
    parts = images.walk().split(batch_size)[dist.rank() :: dist.world()]
    table = torch.zeros(len(images), width, device=images.device)
    for rows, pixels in zip(parts, images.stream(parts), strict=True):
        table[rows.to(table.device)] = work(pixels).to(table.device)
    return dist.total(table)
