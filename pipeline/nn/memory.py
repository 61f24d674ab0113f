"""What a method remembers from step to step, in buffers, so that a resumed run remembers the same.

All ranks hold the same rows: what goes in is gathered first.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.nn.primitives import in_float32
from pipeline.parallel import dist


class Ring(nn.Module):
    """What went in last, first in, first out."""

    rows: Tensor
    count: Tensor

    def __init__(self, rows: Tensor) -> None:
        """It begins with these."""
        super().__init__()
        self.register_buffer("rows", rows)
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def __len__(self) -> int:
        """Number of rows that it holds, those of the start among them."""
        return len(self.rows)

    @torch.no_grad()
    def push(self, rows: Shaped[Tensor, "b ..."]) -> None:
        """Puts the rows of all ranks in place of the oldest."""
        rows = dist.gather(rows.to(self.rows.dtype))
        first = self.count + max(len(rows) - len(self.rows), 0)
        rows = rows[-len(self.rows) :]
        places = (first + torch.arange(len(rows), device=rows.device)) % len(self.rows)
        self.rows[places] = rows
        self.count.copy_(first + len(rows))


class Numbers(Ring):
    """Beside a queue, the numbers of the images that its rows are of; -1 for the rows of its start."""

    def __init__(self, size: int) -> None:
        super().__init__(torch.full((size,), -1))


class Queue(Ring):
    """A ring of vectors; it begins with random unit vectors."""

    def __init__(self, size: int, dim: int, chance: torch.Generator) -> None:
        super().__init__(F.normalize(torch.randn(size, dim, generator=chance), dim=1))
        self._full = False

    @property
    def full(self) -> bool:
        """Whether the random rows are gone. It waits for the device, until they are."""
        self._full = self._full or int(self.count) >= len(self.rows)
        return self._full

    def after_push(self, rows: Float[Tensor, "b d"]) -> Float[Tensor, "m d"]:
        """The rows of all ranks, then those that the queue will still hold once they are pushed, newest first.

        The queue stays as it is. Where it is shorter than the batch, this is the whole batch.
        """
        new = dist.gather(rows)
        age = torch.arange(max(len(self) - len(new), 0), device=new.device)
        return torch.cat([new, self.rows[(self.count - 1 - age) % len(self)]])

    def require_rows(self, count: int, name: str) -> None:
        """Raises ParamsError where the value at `name` in params.yaml asks for more rows than the queue has."""
        if count > len(self):
            raise ParamsError(f"{name}: expected at most {len(self)}, queue_size cut to the images, got {count}")


def epoch_ends(step: int, batch_size: int, images: int) -> bool:
    """Whether all images were seen once more with this step, counted from 1, of so many of all processes."""
    return step * batch_size // images > (step - 1) * batch_size // images


class Bank(nn.Module):
    """One unit vector for each training image, found by its row number."""

    rows: Tensor
    seen: Tensor

    def __init__(self, num_images: int, dim: int, chance: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(num_images, dim, generator=chance), dim=1))
        self.register_buffer("seen", torch.zeros(num_images, dtype=torch.bool))

    @torch.no_grad()
    def update(self, images: Int64[Tensor, " b"], rows: Float[Tensor, "b d"], momentum: float) -> None:
        """Moves the images' vectors to unit(momentum * old + (1 - momentum) * new), those of all ranks.

        An image's first vector replaces the random one. An image that stands twice in a batch, which only the border
        of two epochs brings about, gets the vector of its last place.
        """
        images, rows = dist.gather(images), dist.gather(rows.to(self.rows.dtype))
        places = torch.arange(len(images), device=images.device)
        rows = rows[torch.where(images[:, None] == images, places, -1).amax(dim=1)]  # of an image's last place
        old = torch.where(self.seen[images][:, None], self.rows[images], rows)
        self.rows[images] = F.normalize(momentum * old + (1 - momentum) * rows, dim=1)
        self.seen[images] = True


@in_float32
def nearest_rows(u: Float[Tensor, "b d"], memory: Float[Tensor, "m d"], k: int) -> Int64[Tensor, "b k"]:
    """Which rows of the memory are nearest to each u, the nearest first; all unit vectors."""
    return (u @ memory.T).topk(k, dim=1).indices
