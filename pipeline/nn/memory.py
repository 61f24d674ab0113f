"""What a method remembers from step to step, in buffers, so that a resumed run remembers the same.

All ranks hold the same rows: what goes in is gathered first.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.nn.primitives import in_float32
from pipeline.parallel import dist


class Queue(nn.Module):
    """The last `size` rows that went in, first in, first out; it begins with unit vectors of chance."""

    rows: Tensor
    count: Tensor

    def __init__(self, size: int, dim: int, chance: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(size, dim, generator=chance), dim=1))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))

    def __len__(self) -> int:
        """Number of rows that it holds, those of chance among them."""
        return len(self.rows)

    @property
    def full(self) -> bool:
        """Whether the rows of chance are gone."""
        return int(self.count) >= len(self.rows)

    @torch.no_grad()
    def push(self, rows: Float[Tensor, "b d"]) -> None:
        """Puts the rows of all ranks in place of the oldest."""
        rows = dist.gather(rows.to(self.rows.dtype))
        first = self.count + max(len(rows) - len(self.rows), 0)
        rows = rows[-len(self.rows) :]
        places = (first + torch.arange(len(rows), device=rows.device)) % len(self.rows)
        self.rows[places] = rows
        self.count.copy_(first + len(rows))


class Bank(nn.Module):
    """One unit vector for each training image, found by its row number."""

    rows: Tensor
    seen: Tensor

    def __init__(self, num_images: int, dim: int, chance: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(num_images, dim, generator=chance), dim=1))
        self.register_buffer("seen", torch.zeros(num_images, dtype=torch.bool))

    @torch.no_grad()
    def update(self, images: Int64[Tensor, " b"], rows: Float[Tensor, "b d"], keep: float) -> None:
        """Moves the images' vectors to unit(keep * old + (1 - keep) * new), those of all ranks.

        An image's first vector replaces the one of chance. An image that stands twice in a batch, which only the border
        of two epochs brings about, gets the vector of its last place.
        """
        images, rows = dist.gather(images), dist.gather(rows.to(self.rows.dtype))
        kept = ~(images[:, None] == images).triu(1).any(dim=1)
        images, rows = images[kept], rows[kept]
        old = torch.where(self.seen[images][:, None], self.rows[images], rows)
        self.rows[images] = F.normalize(keep * old + (1 - keep) * rows, dim=1)
        self.seen[images] = True


def enqueued(queue: Queue, rows: Float[Tensor, "b d"]) -> Float[Tensor, "m d"]:
    """The rows of all ranks, then those that the queue will still hold once they are pushed, newest first.

    The queue stays as it is. Where it is shorter than the batch, this is the whole batch.
    """
    new = dist.gather(rows)
    age = torch.arange(max(len(queue) - len(new), 0), device=new.device)
    return torch.cat([new, queue.rows[(queue.count - 1 - age) % len(queue)]])


@in_float32
def nearest(u: Float[Tensor, "b d"], memory: Float[Tensor, "m d"], k: int) -> Int64[Tensor, "b k"]:
    """Which rows of the memory are nearest to each u, the nearest first; all unit vectors."""
    return (u @ memory.T).topk(k, dim=1).indices


def refuse_more(name: str, count: int, queue: Queue) -> None:
    """Raises ParamsError where more neighbours are asked for than the queue has rows."""
    if count > len(queue):
        raise ParamsError(f"{name}: expected at most {len(queue)}, queue_size cut to the images, got {count}")
