"""A head that asks the nearest training images: what labels spread to them, mixed with what a linear layer says."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor, nn

from pipeline.graph.affinity import edge_weights
from pipeline.graph.propagation import Propagation
from pipeline.nn.heads import LINEAR, Head, Levels

SIMILARITIES = 1 << 26  # held at a time: 256 MB


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
        num_classes, k = len(self.names["label"]), min(self.neighbours, len(self.vectors))
        parts = []
        for some in h.split(max(1, SIMILARITIES // len(self.vectors))):
            best = torch.full((len(some), k), -2.0, device=h.device)
            row = torch.zeros(len(some), k, dtype=torch.int64, device=h.device)
            for start in range(0, len(self.vectors), SIMILARITIES // 256):  # as float32 a block at a time
                near, place = (some @ self.vectors[start : start + SIMILARITIES // 256].float().T).topk(
                    min(k, len(self.vectors) - start), dim=1
                )
                both, rows = torch.cat([best, near], dim=1), torch.cat([row, place + start], dim=1)
                best, at = both.topk(k, dim=1)
                row = rows.gather(1, at)
            weight = edge_weights((2 - 2 * best).clamp(min=0))[:, :, None] * self.amounts[row].float()
            votes = some.new_zeros(len(some), num_classes)
            votes.scatter_add_(1, self.classes[row].flatten(1).long(), weight.flatten(1).to(votes.dtype))
            total = votes.sum(dim=1, keepdim=True)
            parts.append(torch.where(total > 0, votes / total.clamp(min=1e-12), 1 / num_classes))
        return torch.cat(parts)

    def linear(self) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
        return self.layer.weight, self.layer.bias


def head_of(result: Propagation, x: Float32[ndarray, "n d"], classes: Sequence[str], neighbours: int) -> Head:
    """The head that classifies new images by their vectors as `result` does the training images."""
    head: Levels | NeighbourVote
    if result.readout == "linear":
        head = Levels(x.shape[1], {"label": classes})
        layer = head.layer(0)
    else:
        top, names = result.scores.classes.shape[1], {"label": classes, LINEAR: classes}
        head = NeighbourVote(x.shape[1], names, num_images=len(x), top=top, neighbours=neighbours)
        length = np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        head.vectors.copy_(torch.from_numpy(x / length))
        head.classes.copy_(result.scores.classes)
        head.amounts.copy_(result.scores.share)
        head.share.fill_(result.share)
        head.temperature.fill_(result.temperature)
        layer = head.layer
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(result.weight[:, : x.shape[1]]))
        layer.bias.copy_(torch.from_numpy(result.bias))
    return head
