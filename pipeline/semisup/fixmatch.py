"""FixMatch: the confident guess on a weak view of an image teaches a strong view of it (Sohn et al. 2020)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from pipeline.fit import Step
from pipeline.nn.classifier import Classifier
from pipeline.params import Block
from pipeline.semisup.averaged import Averaged
from pipeline.semisup.batch import Batch


class FixMatchParams(Block):
    """The block `train.fixmatch`."""

    ratio: int = Field(ge=1)  # unlabelled images for each labelled one in a batch; mu = 7 in the paper
    threshold: float = Field(ge=0)  # tau = 0.95 in the paper; above 1 it is supervised training
    weight: float = Field(ge=0)  # lambda_u = 1 in the paper
    keep: float = Field(ge=0, lt=1)  # share of the slow copy that is kept at each step; 0.999 in the paper


def fixmatch_loss(
    weak: Float[Tensor, "u k"], strong: Float[Tensor, "u k"], threshold: float
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy of `strong` against the confident argmax of `weak`, both logits (eq. 4), and the share kept.

    The mean is over all u images, kept or not, as in the paper. No gradient reaches `weak`.
    """
    confidence, guess = weak.detach().softmax(dim=1).max(dim=1)
    kept = confidence >= threshold
    loss = F.cross_entropy(strong, guess, reduction="none").masked_fill(~kept, 0).mean()
    return loss, kept.float().mean()


class FixMatch(Averaged):
    """The method; the model that it leaves is the slow copy."""

    Params = FixMatchParams

    def __init__(self, net: Classifier, params: FixMatchParams) -> None:
        super().__init__(net, params.keep)
        self.params, self.ratio = params, params.ratio

    def loss(self, batch: Batch) -> Step:
        """Labelled loss plus `weight` times `fixmatch_loss`."""
        images = torch.cat([batch.labelled, batch.weak, batch.strong])  # one pass: batch norm sees them all
        sizes = [len(batch.labelled), len(batch.weak), len(batch.strong)]
        known, weak, strong = self.net(images).float().split(sizes)
        labelled = F.cross_entropy(known, batch.label)
        unlabelled, kept = fixmatch_loss(weak, strong, self.params.threshold)
        logs = {"labelled": labelled, "unlabelled": unlabelled, "kept": kept}
        return Step(labelled + self.params.weight * unlabelled, logs)
