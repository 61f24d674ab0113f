"""Which boxes of an image and of its nearest images look most alike: what ORL remembers."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.nn.primitives import in_float32
from pipeline.parallel import dist

BLOCK_NUMBERS = 1 << 24  # cosines in memory at a time


class Pairs(nn.Module):
    """For each training image its nearest images, and for each of these the pairs of boxes that look most alike.

    All ranks hold the same. Departure: all images have the same random boxes, where those of Xie et al. 2021 come from
    selective search in each.
    """

    boxes: Tensor
    nearest: Tensor
    best: Tensor

    def __init__(self, num_images: int, neighbours: int, boxes: Float[Tensor, "m 4"], kept: float, name: str) -> None:
        """Of the m x m pairs of boxes of two images `kept` times m are kept; `neighbours` is the value at `name`.

        Raises ParamsError where there are not as many other images.
        """
        super().__init__()
        if neighbours >= num_images:
            raise ParamsError(f"{name}: expected less than {num_images}, the training images, got {neighbours}")
        self.register_buffer("boxes", boxes)
        self.register_buffer("nearest", torch.full((num_images, neighbours), -1))  # -1 until they are found
        pairs = max(1, int(kept * len(boxes)))
        self.register_buffer("best", torch.zeros(num_images, neighbours, pairs, dtype=torch.int32))
        self._found: bool | None = None  # not known: a state may have been loaded

    @property
    def found(self) -> bool:
        """Whether there are any. The first time it waits for the device."""
        if self._found is None:
            self._found = int(self.nearest[0, 0]) >= 0
        return self._found

    @in_float32
    @torch.no_grad()
    def find(self, images: Float[Tensor, "n d"], regions: Float[Tensor, "n m d"]) -> None:
        """From the unit vectors of all images, and of all their boxes, by cosine; no image is its own neighbour."""
        (count, neighbours, pairs), m = self.best.shape, regions.shape[1]
        for rows in torch.arange(count, device=images.device).split(
            max(1, BLOCK_NUMBERS // max(count, neighbours * m**2))
        ):
            cos = images[rows] @ images.T
            near = cos.scatter_(1, rows[:, None], -2.0).topk(neighbours, dim=1).indices
            alike = torch.einsum("bid,bkjd->bkij", regions[rows], regions[near])
            self.nearest[rows], self.best[rows] = near, alike.flatten(2).topk(pairs, dim=2).indices.int()
        dist.as_first(self)  # GPUs need not agree to the bit
        self._found = True

    def drawn(
        self, images: Int64[Tensor, " b"], which: Float[Tensor, "b 2"]
    ) -> tuple[Int64[Tensor, " b"], Float[Tensor, "b 4"], Float[Tensor, "b 4"]]:
        """A neighbour of each image, and a pair of boxes, the image's first. `which`, in [0, 1), chooses."""
        neighbour, pair = (one_of(u, count) for u, count in zip(which.unbind(1), self.best.shape[1:], strict=True))
        place = self.best[images, neighbour, pair].long()
        return (
            self.nearest[images, neighbour],
            self.boxes[place // len(self.boxes)],
            self.boxes[place % len(self.boxes)],
        )


def one_of(u: Float[Tensor, " b"], count: int) -> Int64[Tensor, " b"]:
    """Numbers below `count`, by what was drawn from [0, 1)."""
    return (u * count).long().clamp(max=count - 1)
