"""Linear layers that start as nearest-centroid classifiers of the labelled images.

With a pretrained backbone the layer is all that is random at the start, and its first predictions are taught to the
rest.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import Levels
from pipeline.nn.norm import statistics_kept
from pipeline.train.pixels import Pixels
from pipeline.train.targets import Targets

ORIGIN_SAMPLE = 2000  # images whose mean feature is the origin
LOGIT_SCALE = 10.0  # logits are about this times a cosine


@torch.no_grad()
def start_at_centroids(net: Classifier, images: Pixels, targets: Targets) -> None:
    """Sets the layer of each level to `centroid_layer` of the features that it sees, in the network's present mode.

    In train mode batch norm sees labelled and other images together; its running statistics stay.
    """
    assert isinstance(net.head, Levels)
    sample = images.some(ORIGIN_SAMPLE)
    rows = torch.cat([targets.rows, sample])
    # Every so many-th image, so that each pass has its share of the labelled ones.
    count = -(-len(rows) // net.images_a_pass())
    mixed = torch.cat([torch.arange(start, len(rows), count) for start in range(count)])
    with statistics_kept(net):
        parts = [net.backbone(part).float() for part in images.stream(rows[mixed].tensor_split(count))]
    labelled, others = torch.cat(parts)[mixed.argsort().to(images.device)].split([len(targets.rows), len(sample)])
    for level, start in enumerate(net.head.starts):
        layer, labels = net.head.layer(level), targets.labels[:, level].to(labelled.device)
        weight, bias = centroid_layer(labelled[:, start:], labels, others[:, start:], layer.out_features)
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)


def centroid_layer(
    labelled: Float[Tensor, "m f"], labels: Int64[Tensor, " m"], others: Float[Tensor, "n f"], num_classes: int
) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
    """Weight and bias of a linear layer whose logits are LOGIT_SCALE times the cosine to each class's mean direction.

    The origin is the mean of `others`, and features are scaled by the mean distance of these to it. A class without a
    label (-1: none) has logits of 0, those of an image that is like no class.
    """
    origin = others.mean(dim=0)
    unit = F.normalize(labelled - origin, dim=1)
    sums = unit.new_zeros(num_classes, unit.shape[1]).index_add_(0, labels.clamp(min=0), unit * (labels >= 0)[:, None])
    weight = LOGIT_SCALE * F.normalize(sums, dim=1) / (others - origin).norm(dim=1).mean().clamp(min=1e-6)
    return weight, -weight @ origin
