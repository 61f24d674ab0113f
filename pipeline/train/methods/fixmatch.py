"""FixMatch: the confident pseudo-label of a weak view teaches the strong view of the same image (Sohn et al. 2020)."""

from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.train.pseudo_labelling import PseudoLabelling, PseudoLabelParams, UnlabelledLoss


class FixMatchParams(PseudoLabelParams):
    """The block `train.fixmatch`."""

    threshold: float = Field(ge=0)  # tau, the least confidence of a pseudo-label; above 1 it is supervised training


class FixMatchLoss(UnlabelledLoss[FixMatchParams]):
    """Cross-entropy against pseudo-labels of a confidence of at least `threshold`, a mean over all images (eq. 4).

    With `train.targets: propagated` it is the confidence of the network's guess mixed with the graph's.
    """

    def weights(self, p: Float[Tensor, "u k"], rows: Int64[Tensor, " u"]) -> Float[Tensor, " u"]:
        """The mask: 1 for each pseudo-label that is confident enough, 0 for the others."""
        confidence = p.amax(dim=1)
        return (confidence >= self.params.threshold).to(p.dtype)


class FixMatch(PseudoLabelling[FixMatchParams]):
    """The method."""

    Params = FixMatchParams
    Unlabelled = FixMatchLoss
