"""What linear layers on a pretrained backbone begin as: `train.head`."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pipeline.graph.probe import fit_targets
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import Levels
from pipeline.nn.norm import statistics_kept
from pipeline.train.centroids import start_at_centroids
from pipeline.train.graph_targets import GraphTargets
from pipeline.train.pixels import Pixels
from pipeline.train.task import Task

PROBE_SAMPLE = 20_000  # images that a probe is fitted on, at most


def start_head(net: Classifier, images: Pixels, task: Task) -> None:
    """Sets the layer of each level as `train.head` says, in the network's present mode; `random` leaves them.

    With `propagated` the coarser levels begin at the centroids.
    """
    if task.common.head == "zeros":
        for p in net.head.parameters():
            nn.init.zeros_(p)
    elif task.common.head != "random":
        start_at_centroids(net, images, task.targets)
    if task.common.head == "propagated":
        assert task.graph is not None
        start_at_probe(net, images, task.graph)


def start_layers(layers: Sequence[nn.Linear], net: Classifier, images: Pixels, task: Task) -> None:
    """Sets linear layers that stand beside another head, all alike, as `start_head` sets one of the features."""
    if task.common.head == "random":
        return
    levels = Levels(net.backbone.dim, task.targets.names).to(images.device)
    start_head(Classifier(net.backbone, levels, net.size), images, task)
    for layer in layers:
        layer.load_state_dict(levels.layer(0).state_dict())


def start_at_probe(net: Classifier, images: Pixels, graph: GraphTargets) -> None:
    """Sets the finest layer to a probe of the features that it sees, fitted on the graph's targets of a sample."""
    assert isinstance(net.head, Levels)
    rows = images.some(PROBE_SAMPLE)
    with torch.no_grad(), statistics_kept(net):
        parts = [net.backbone(part).float() for part in images.stream(rows.split(net.images_a_pass()))]
    weight, bias = probe_layer(torch.cat(parts)[:, net.head.starts[0] :], graph(rows.to(images.device)))
    with torch.no_grad():
        net.head.layer(0).weight.copy_(weight)
        net.head.layer(0).bias.copy_(bias)


def probe_layer(
    h: Float[Tensor, "n f"], targets: Float[Tensor, "n k"]
) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
    """Weight and bias of `fit_targets`, for features as they are.

    It is fitted on features less their mean, over the mean distance to it: about as long as the embedder's vectors.
    """
    origin = h.mean(dim=0)
    length = (h - origin).norm(dim=1).mean().clamp(min=1e-6)
    weight, bias = fit_targets((h - origin) / length, targets)
    return weight / length, bias - weight @ origin / length
