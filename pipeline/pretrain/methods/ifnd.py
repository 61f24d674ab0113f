"""IFND: MoCo without the negatives that clusters of all images take for the same thing as the query.

Chen et al. 2022, "Incremental false negative detection for contrastive learning"; we found no code. The letters are
MoCo's.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from torch import Tensor

from pipeline.pretrain.clustered_contrast import ClusteredContrast, ClusteredContrastParams
from pipeline.pretrain.momentum_contrast import moco_loss


class IfndParams(ClusteredContrastParams):
    """The block `pretrain.ifnd`."""

    clusterings: int = Field(ge=1, le=20)  # of `clusters`, twice as many, four times as many, ...
    share: float = Field(ge=0, le=1)  # of the images, the surest, whose cluster counts at the last step; 0: MoCo

    def counts(self) -> Sequence[int]:
        """Each clustering has twice as many clusters as the one before."""
        return [self.clusters * 2**i for i in range(self.clusterings)]


def false_negatives(of_queries: Int64[Tensor, "g b"], of_rows: Int64[Tensor, "g m"]) -> Bool[Tensor, "b m"]:
    """Rows in the query's cluster in any of g clusterings; -1 is no cluster. None for a query that would lose all."""
    same = ((of_queries[:, :, None] == of_rows[:, None]) & (of_queries[:, :, None] >= 0)).any(dim=0)
    return same & ~same.all(dim=1, keepdim=True)


class Ifnd(ClusteredContrast[IfndParams]):
    """The method around `moco_loss` and `false_negatives`.

    A false negative is left out; the paper found that steadier than to make it a positive. A label counts for the
    surest images alone, by the cosine to their centroid: a share of them that grows in step with the training.
    Departure: clusters are those of a bank (`Clusters`).
    """

    Params = IfndParams
    block = "pretrain.ifnd"

    def contrast(
        self, q: Float[Tensor, "b d"], k: Float[Tensor, "b d"], images: Int64[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        absent = false_negatives(self._counted(images), self._counted(self.numbers.rows))
        return moco_loss(q, k, self.queue.rows, self.params.temperature, absent)

    def _counted(self, images: Int64[Tensor, " m"]) -> Int64[Tensor, "g m"]:
        """The images' clusters; -1 for those that do not count yet, and for no image."""
        sure = self.clusters.doubt[:, images] < self.params.share * self.progress
        return torch.where(sure & (images >= 0), self.clusters.labels[:, images], -1)
