"""Clusters of all training images, found anew at the end of each epoch from the vectors that a bank has of them."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.nn.memory import Bank, epoch_ends
from pipeline.nn.primitives import in_float32, unit
from pipeline.parallel import dist

SAMPLE = 256  # rows for each cluster that centroids are learnt from, at most
BLOCK_NUMBERS = 1 << 24  # cosines in memory at a time


@in_float32
@torch.no_grad()
def spherical_kmeans(
    x: Float[Tensor, "n d"], k: int, iterations: int
) -> tuple[Int64[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, "k d"]]:
    """The cluster of each unit vector, its cosine to the centroid, and the centroids, of length 1; k <= n.

    Centroids start as k rows, drawn by torch's own chance on the CPU, and are learnt from `SAMPLE` rows a cluster where
    there are more; one without members stays as it was. Then each row goes to the nearest.
    """
    order = torch.randperm(len(x))[: SAMPLE * k].to(x.device)
    sample = x[order]
    centroids = sample[:k]
    for _ in range(iterations):
        centroids = moved(sample, nearest(sample, centroids)[0], centroids)
    return *nearest(x, centroids), centroids


def moved(
    x: Float[Tensor, "n d"], labels: Int64[Tensor, " n"], centroids: Float[Tensor, "k d"]
) -> Float[Tensor, "k d"]:
    """The unit mean of each cluster's rows; one without members stays as it was."""
    sums = torch.zeros_like(centroids).index_add_(0, labels, x)
    return torch.where(sums.any(dim=1, keepdim=True), unit(sums), centroids)


def nearest(
    x: Float[Tensor, "n d"], centroids: Float[Tensor, "k d"]
) -> tuple[Int64[Tensor, " n"], Float[Tensor, " n"]]:
    """The centroid of the largest cosine, and that cosine."""
    found = [(part @ centroids.T).max(dim=1) for part in x.split(max(1, BLOCK_NUMBERS // len(centroids)))]
    return torch.cat([part.indices for part in found]), torch.cat([part.values for part in found])


class Clusters(nn.Module):
    """The cluster of each training image in one or more clusterings, which differ in their number of clusters.

    All ranks hold the same. Departure for the methods that have it: their papers embed all images anew with the
    network of that moment; a bank's vector is as old as the image's last place in a batch.
    """

    labels: Tensor
    doubt: Tensor

    def __init__(
        self, num_images: int, dim: int, counts: Sequence[int], iterations: int, name: str, chance: torch.Generator
    ) -> None:
        """`counts` has a number of clusters for each clustering, its largest is the value at `name` in params.yaml.

        Raises ParamsError where it is above the number of images.
        """
        super().__init__()
        if max(counts) > num_images:
            more = f" in the last of {len(counts)} clusterings" if len(counts) > 1 else ""
            raise ParamsError(f"{name}: expected at most {num_images}, the training images, got {max(counts)}{more}")
        self.counts, self.iterations = tuple(counts), iterations
        self.register_buffer("labels", torch.full((len(counts), num_images), -1))  # -1 until the first epoch ends
        # Share of all images that are nearer to their centroid than this one: 0 for the surest.
        self.register_buffer("doubt", torch.ones(len(counts), num_images))
        self.bank = Bank(num_images, dim, chance)

    def update(self, images: Int64[Tensor, " b"], rows: Float[Tensor, "b d"], step: int) -> None:
        """Puts the images' unit vectors in the bank and, where an epoch ends with this step, finds the clusters."""
        self.bank.update(images, rows, momentum=0.0)
        if epoch_ends(step, len(images) * dist.world(), self.labels.shape[1]):
            self.find(self.bank.rows)

    @torch.no_grad()
    def find(self, rows: Float[Tensor, "n d"]) -> None:
        """Clusters the images' unit vectors."""
        found = [spherical_kmeans(rows, k, self.iterations) for k in self.counts]
        shares = torch.arange(len(rows), device=rows.device).to(self.doubt) / len(rows)
        for place, (labels, cos, _) in enumerate(found):
            self.labels[place] = labels
            self.doubt[place, cos.argsort(descending=True, stable=True)] = shares
        dist.as_first(self)  # GPUs need not agree to the bit
