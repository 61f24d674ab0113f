"""What a semi-supervised step is given, and where it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from pipeline import rng
from pipeline.data.augment import Chance
from pipeline.data.order import Order
from pipeline.data.views import StrongView, WeakView


@dataclass(frozen=True)
class Batch:
    """Weak views of labelled images with their classes; a weak and a strong view of each unlabelled image."""

    labelled: Float[Tensor, "b c h w"]
    label: Int64[Tensor, " b"]
    weak: Float[Tensor, "u c h w"]
    strong: Float[Tensor, "u c h w"]


class Feed:
    """The batch of any step, as a function of (seed, step). The labelled images are among the unlabelled ones too."""

    def __init__(
        self,
        pixels: UInt8[Tensor, "n c h w"],
        rows: Sequence[int],
        labels: Int64[Tensor, " m"],
        *,
        sizes: tuple[int, int],
        views: tuple[WeakView, StrongView],
        seed: int,
    ) -> None:
        """`rows[i]` of `pixels` has the class `labels[i]`; `sizes` counts labelled and unlabelled images in a batch."""
        self._pixels, self._labels = pixels, labels
        self._rows = torch.tensor(rows)
        self._sizes, self._views, self._seed = sizes, views, seed
        self._known = Order(len(rows), seed, "train", "labelled")
        self._any = Order(len(pixels), seed, "train", "unlabelled")

    def __call__(self, step: int) -> Batch:
        """The batch of a step, on the device of the pixels."""
        chance = Chance(rng.number(self._seed, "train", "views", step))
        num_labelled, num_unlabelled = self._sizes
        weak, strong = self._views
        device = self._pixels.device
        known = torch.from_numpy(self._known.batch(step, num_labelled))
        labelled = weak(self._pixels[self._rows[known].to(device)], chance)
        label = self._labels[known].to(device)
        if num_unlabelled == 0:
            nothing = labelled[:0]
            return Batch(labelled, label, nothing, nothing)
        raw = self._pixels[torch.from_numpy(self._any.batch(step, num_unlabelled)).to(device)]
        return Batch(labelled, label, weak(raw, chance), strong(raw, chance))
