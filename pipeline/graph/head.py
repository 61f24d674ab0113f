"""The head that classifies new images as propagation does the training images."""

from collections.abc import Sequence

import torch
from jaxtyping import Float32
from numpy import ndarray

from pipeline.graph.propagation import Propagation
from pipeline.nn.heads import LINEAR, Head, Levels
from pipeline.nn.neighbour_vote import NeighbourVote


def head_of(result: Propagation, x: Float32[ndarray, "n d"], classes: Sequence[str], neighbours: int) -> Head:
    """The head that classifies new images by their unit vectors as `result` does the training images; x has theirs."""
    head: Levels | NeighbourVote
    if result.readout == "linear":
        head = Levels(x.shape[1], {"label": classes})
        layer = head.layer(0)
    else:
        top, names = result.scores.classes.shape[1], {"label": classes, LINEAR: classes}
        head = NeighbourVote(x.shape[1], names, num_images=len(x), top=top, neighbours=neighbours)
        head.vectors.copy_(torch.from_numpy(x))
        head.classes.copy_(result.scores.classes)
        head.amounts.copy_(result.scores.share)
        head.share.fill_(result.share)
        head.temperature.fill_(result.temperature)
        layer = head.layer
    with torch.no_grad():
        temperature = result.temperature if isinstance(head, Levels) else 1.0  # the vote has its own
        layer.weight.copy_(torch.from_numpy(result.weight / temperature))
        layer.bias.copy_(torch.from_numpy(result.bias / temperature))
    return head
