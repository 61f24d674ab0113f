"""CLD: an add-on to any method that also tells the group of an image's other view from the batch's other groups.

Wang, Liu & Yu 2021, "Unsupervised feature learning by cross-level instance-group discrimination". The letters: g1 and
g2 are the unit outputs of a head of its own for two views; the groups are k clusters of a batch, one set for each view.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.mlp import mlp
from pipeline.nn.primitives import in_float32, one_hot, soft_ce, unit
from pipeline.parallel import dist
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import AddOn, SelfSupervised


class CldParams(Block):
    """The block `pretrain.cld`."""

    weight: float = Field(ge=0)  # of the term beside the method's own loss; 0: the method alone
    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=0)  # 0: a linear head
    temperature: float = Field(gt=0)
    clusters: int = Field(ge=2)  # at most the images of a batch
    iterations: int = Field(ge=1)  # of k-means


@in_float32
def grouped(
    g: Float[Tensor, "n d"], first: Float[Tensor, "k d"], iterations: int
) -> tuple[Int64[Tensor, " n"], Float[Tensor, "k d"]]:
    """The cluster of each unit vector, and the centroids, by spherical k-means from the centroids `first`.

    A centroid is the unit mean of its members; one that has none stays as it was. Gradients flow from the centroids to
    their last members, as in the authors' code, and through no assignment. Departure: the authors' are plain means,
    which are shorter than 1.
    """
    centroids = first
    for _ in range(iterations):
        clusters = (g.detach() @ centroids.detach().T).argmax(dim=1)
        members = one_hot(clusters, len(first)).to(g.dtype)
        centroids = torch.where(members.any(dim=0)[:, None], unit(members.T @ g), centroids)
    return clusters, centroids


def cld_loss(
    g: Sequence[Float[Tensor, "b d"]],
    clusters: Sequence[Int64[Tensor, " b"]],
    centroids: Sequence[Float[Tensor, "k d"]],
    temperature: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of each view's vectors against the other view's groups, mean over the batch and the two directions.

    Each argument has one entry for either view; all rows are unit vectors. log k where all of them are equal.
    """
    terms = [soft_ce(g[i], centroids[1 - i], clusters[1 - i], temperature) for i in (0, 1)]
    return torch.stack(terms).mean()


class Cld(AddOn):
    """A method with the term beside it: base loss + weight * `cld_loss`, on the features that its step gives.

    Features without a gradient, a teacher's, give groups and train the head: beside a MoCo that is not symmetric those
    of the second view. Departures: the authors' MoCo has two queries, and a third view for the key; they cluster the
    rows of each device apart, here those of the global batch are clustered together.
    """

    def __init__(self, base: SelfSupervised, params: CldParams, chance: torch.Generator) -> None:
        super().__init__(base)
        self.params = params
        dims = [base.feature_dim, *[params.hidden_dim] * (params.hidden_dim > 0), params.dim]
        self.head = mlp(dims, norm=False)
        for p in self.head.parameters():
            if p.ndim > 1:
                nn.init.kaiming_uniform_(p, math.sqrt(5), generator=chance)  # torch's own start of a linear layer
            else:
                nn.init.zeros_(p)

    def loss(self, views: Views) -> Step:
        """The base's loss and the term, which draws the first centroids by torch's own chance."""
        step = self.base.loss(views)
        g = unit(self.head(torch.cat(list(step.features)))).chunk(2)
        total, part = dist.global_batch(len(g[0]))
        if self.params.clusters > total:
            raise ParamsError(
                f"pretrain.cld.clusters: expected at most {total}, the images of a batch, got {self.params.clusters}"
            )
        first = torch.randperm(total)[: self.params.clusters].to(
            g[0].device, non_blocking=True
        )  # the same images in both views
        rows = [dist.gather(view) for view in g]
        clusters, centroids = zip(*(grouped(view, view[first], self.params.iterations) for view in rows), strict=True)
        term = cld_loss(g, [of_all[part] for of_all in clusters], centroids, self.params.temperature)
        return Step(step.loss + self.params.weight * term, {**step.logs, "cld": term}, step.features)
