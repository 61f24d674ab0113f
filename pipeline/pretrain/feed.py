"""The views of the same images for any step."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from pipeline.base import rng
from pipeline.parallel import dist
from pipeline.shards.order import Order
from pipeline.views.chance import Chance
from pipeline.views.kinds import ContrastiveView, LocalCrops

LOCAL = "pretrain.local"


@dataclass(frozen=True)
class Views:
    """Two views of each image, perhaps small ones of parts of it, and the images' row numbers for a bank.

    Where only one view is taken the second is the first.
    """

    first: Float[Tensor, "b c h w"]
    second: Float[Tensor, "b c h w"]
    local: Float[Tensor, "v b c s t"]  # v is 0 where none are asked for
    rows: Int64[Tensor, " b"]


class Feed:
    """The batch of any step, as a function of (seed, step), from pixels that are in memory, on their device.

    `batch_size` counts the images of all processes; each gets its part.
    """

    def __init__(
        self,
        pixels: UInt8[Tensor, "n c h w"],
        views: Sequence[ContrastiveView],
        local: LocalCrops,
        batch_size: int,
        seed: int,
    ) -> None:
        self._pixels, self._views, self._local = pixels, views, local
        self._batch_size, self._seed = batch_size, seed
        self._part = dist.share(batch_size, "pretrain.batch_size")
        self._order = Order(len(pixels), seed, "pretrain", "order")

    def __call__(self, step: int) -> Views:
        """All views, drawn independently."""
        chance = Chance(rng.number(self._seed, "pretrain", "views", step), self._batch_size, self._part)
        rows = torch.from_numpy(self._order.batch(step, self._batch_size))[self._part]
        rows = rows.to(self._pixels.device, non_blocking=True)
        raw = self._pixels[rows]
        large = [view(raw, chance) for view in self._views]
        local = raw.new_empty(0, *raw.shape, dtype=torch.float32)
        if self._local.count > 0:
            size, view = self._local.size((raw.shape[2], raw.shape[3]), LOCAL), self._local.view(self._views[0])
            local = torch.stack([view(raw, chance, size) for _ in range(self._local.count)])
        return Views(large[0], large[-1], local, rows)
