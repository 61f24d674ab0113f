"""Two views of the same images for any step."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from pipeline import rng
from pipeline.data.order import Order
from pipeline.data.views import ContrastiveView

Views = tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]


class TwoViews:
    """The batch of any step, as a function of (seed, step), on the device of the pixels."""

    def __init__(self, pixels: UInt8[Tensor, "n c h w"], view: ContrastiveView, batch_size: int, seed: int) -> None:
        self._pixels, self._view, self._batch_size, self._seed = pixels, view, batch_size, seed
        self._order = Order(len(pixels), seed, "pretrain", "order")

    def __call__(self, step: int) -> Views:
        """Both views, drawn independently."""
        chance = torch.Generator().manual_seed(rng.number(self._seed, "pretrain", "views", step))
        rows = torch.from_numpy(self._order.batch(step, self._batch_size))
        raw = self._pixels[rows.to(self._pixels.device)]
        return self._view(raw, chance), self._view(raw, chance)
