"""A head that asks the nearest training images: what labels spread to them, mixed with what a linear layer says."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pipeline.nn.heads import LINEAR, Head

SHARPNESS = 4.0  # exp(-4): the weight of an image's k-th neighbour
SIMILARITIES = 1 << 26  # held at a time: 256 MB, beside a block of vectors
BLOCK = SIMILARITIES // 256  # training images that are compared with as float32 at a time


def edge_weights(sq_dist: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """exp(-4 d_j^2 / d_k^2) for the squared distances to k neighbours, d_k the largest finite one; 0 where inf.

    Copies, at a distance of 0, have the weight 1.
    """
    finite = sq_dist.isfinite()
    largest = sq_dist.where(finite, torch.zeros_like(sq_dist)).amax(dim=1, keepdim=True)
    tiny = torch.finfo(sq_dist.dtype).tiny
    return (-SHARPNESS * sq_dist / largest.clamp(min=tiny)).exp()


class NeighbourVote(Head):
    """p = share * vote + (1 - share) * softmax(linear layer), both of a unit vector; logits are log p / temperature.

    The vote is the mean of the neighbours' classes with the weights of the graph's edges (`edge_weights`). `vectors`
    are the training images' in half precision; `classes` and `amounts` are the highest classes of each, see
    `pipeline.graph.spread.Scores`. Images that no label reaches have no say.
    """

    name = "neighbour_vote"
    vectors: Tensor
    classes: Tensor
    amounts: Tensor
    share: Tensor
    temperature: Tensor

    def __init__(
        self, dim: int, names: Mapping[str, Sequence[str]], *, num_images: int, top: int, neighbours: int
    ) -> None:
        super().__init__(names, num_images=num_images, top=top, neighbours=neighbours)
        self.layer = nn.Linear(dim, len(names["label"]))
        self.neighbours = neighbours
        self.register_buffer("vectors", torch.zeros(num_images, dim, dtype=torch.float16))
        self.register_buffer("classes", torch.zeros(num_images, top, dtype=torch.int32))
        self.register_buffer("amounts", torch.zeros(num_images, top, dtype=torch.float16))
        self.register_buffer("share", torch.ones(()))
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, h: Float[Tensor, "b f"]) -> dict[str, Float[Tensor, "b _"]]:
        linear = self.layer(h)
        p = self.share * self.vote(h) + (1 - self.share) * linear.softmax(dim=1)
        return {"label": p.clamp(min=1e-12).log() / self.temperature, LINEAR: linear}

    def vote(self, h: Float[Tensor, "b f"]) -> Float[Tensor, "b k"]:
        """What the nearest training images are, in sum 1; even where none of them has a class."""
        if torch.compiler.is_exporting():  # a graph has no blocks: it holds all similarities of a batch at once
            return self._of(*(h @ self.vectors.float().T).topk(min(self.neighbours, len(self.vectors)), dim=1))
        each = max(1, SIMILARITIES // min(BLOCK, len(self.vectors)))
        return torch.cat([self._of(*self._nearest(some)) for some in h.split(each)])

    def _nearest(self, h: Float[Tensor, "b f"]) -> tuple[Float[Tensor, "b m"], Int64[Tensor, "b m"]]:
        """Similarities and rows of the nearest training images, which are compared a block at a time."""
        k = min(self.neighbours, len(self.vectors))
        best = torch.full((len(h), k), -2.0, device=h.device)
        row = torch.zeros(len(h), k, dtype=torch.int64, device=h.device)
        for start in range(0, len(self.vectors), BLOCK):
            near, place = (h @ self.vectors[start : start + BLOCK].float().T).topk(
                min(k, len(self.vectors) - start), dim=1
            )
            both, rows = torch.cat([best, near], dim=1), torch.cat([row, place + start], dim=1)
            best, at = both.topk(k, dim=1)
            row = rows.gather(1, at)
        return best, row

    def _of(self, similarity: Float[Tensor, "b m"], row: Int64[Tensor, "b m"]) -> Float[Tensor, "b k"]:
        """The vote of these neighbours."""
        num_classes = len(self.names["label"])
        weight = edge_weights((2 - 2 * similarity).clamp(min=0))[:, :, None] * self.amounts[row].float()
        votes = similarity.new_zeros(similarity.shape[0], num_classes)  # `len` would fix it where a graph is made
        votes = votes.scatter_add(1, self.classes[row].flatten(1).long(), weight.flatten(1).to(votes.dtype))
        total = votes.sum(dim=1, keepdim=True)
        return torch.where(total > 0, votes / total.clamp(min=1e-12), 1 / num_classes)

    def linear(self) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
        return self.layer.weight, self.layer.bias
