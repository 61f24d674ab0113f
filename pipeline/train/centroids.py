"""Linear layers that begin as nearest-centroid classifiers of the labelled images, so that first guesses are no chance.

With a pretrained backbone the layer is all that is random at the start, and what it guesses then is taught to the rest.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from pipeline.nn.classifier import AT_ONCE, Classifier
from pipeline.nn.heads import Levels
from pipeline.nn.norm import statistics_kept
from pipeline.train.pixels import Pixels
from pipeline.train.targets import Targets

SAMPLE = 2000  # images whose mean feature is the origin
SCALE = 10.0  # logits are about this times a cosine


@torch.no_grad()
def start_at_centroids(net: Classifier, images: Pixels, targets: Targets) -> None:
    """Sets the layer of each level to `centroid_layer` of the features that it sees, in the network's present mode.

    In train mode, in which guesses are made, batch norm sees labelled and other images together, and its running
    statistics stay.
    """
    assert isinstance(net.head, Levels)
    sample = images.some(SAMPLE)
    rows = torch.cat([targets.rows, sample])
    # Every so many-th image, so that each pass has its share of the labelled ones.
    count = -(-len(rows) // AT_ONCE)
    mixed = torch.cat([torch.arange(start, len(rows), count) for start in range(count)])
    with statistics_kept(net):
        parts = [net.backbone(part).float() for part in images.stream(rows[mixed].tensor_split(count))]
    known, some = torch.cat(parts)[mixed.argsort().to(images.device)].split([len(targets.rows), len(sample)])
    for level, start in enumerate(net.head.starts):
        layer, labels = net.head.layer(level), targets.labels[:, level].to(known.device)
        weight, bias = centroid_layer(known[:, start:], labels, some[:, start:], layer.out_features)
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)


def centroid_layer(
    known: Float[Tensor, "m f"], labels: Int64[Tensor, " m"], some: Float[Tensor, "n f"], num_classes: int
) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
    """Weight and bias of a linear layer whose logits are SCALE times the cosine to each class's mean direction.

    Features are seen from the mean of `some` and scaled by their mean distance to it; a class without a label (-1: not
    known) has logits of 0, those of an image that is like no class.
    """
    origin = some.mean(dim=0)
    away = F.normalize(known - origin, dim=1)
    sums = away.new_zeros(num_classes, away.shape[1]).index_add_(0, labels.clamp(min=0), away * (labels >= 0)[:, None])
    weight = SCALE * F.normalize(sums, dim=1) / (some - origin).norm(dim=1).mean().clamp(min=1e-6)
    return weight, -weight @ origin
