"""Exemplar: each training image is a class of its own, and a view must be seen to be of its class.

Dosovitskiy et al. 2014, "Discriminative unsupervised feature learning with convolutional neural networks". The letters:
q are unit projections of views, the rows of `classes` one learnt vector for each image.
"""

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Generator, Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.mlp import Encoder, mlp
from pipeline.nn.primitives import feature_std, soft_ce, unit
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised

MOST_IMAGES = 100_000  # classes: each step computes and moves all their vectors
LENGTH = 0.1  # of the vectors at the start: only their directions count, and the shorter they are the faster they turn


class ExemplarParams(MethodParams):
    """The block `pretrain.exemplar`."""

    dim: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)
    temperature: float = Field(gt=0)


def exemplar_loss(
    q: Float[Tensor, "v b d"], classes: Float[Tensor, "n d"], images: Int64[Tensor, " b"], temperature: float
) -> Float[Tensor, ""]:
    """Cross-entropy of softmax(q . unit(classes) / T) against the images' own numbers, mean over views and batch.

    q are unit vectors. Gradients reach both. Log n where all classes point one way; NPID's softmax over a bank, but for
    the gradient of the rows. Departure: the paper's classes are a linear layer, with lengths and biases.
    """
    return soft_ce(q.flatten(0, 1), unit(classes), images.repeat(len(q)), temperature)


class Exemplar(SelfSupervised[ExemplarParams]):
    """The method around `exemplar_loss`: two views of each image, where the paper has about a hundred patches of it."""

    Params = ExemplarParams

    def __init__(self, backbone: Backbone, params: ExemplarParams, num_images: int, chance: Generator) -> None:
        """Raises ParamsError for more than 100,000 images."""
        super().__init__(backbone, params, num_images, chance)
        if num_images > MOST_IMAGES:
            raise ParamsError(
                f"pretrain.exemplar: expected at most {MOST_IMAGES} training images, got {num_images}; npid remembers "
                "one vector an image without learning it"
            )
        self.encoder = Encoder(backbone, mlp([backbone.dim, params.hidden_dim, params.dim], norm=True))
        start = unit(torch.randn(num_images, params.dim, generator=chance))
        self.classes = nn.Parameter(LENGTH * start)

    def loss(self, views: Views) -> Step:
        h, z = self.encoder(torch.cat([views.first, views.second]))  # one pass: batch norm sees both views
        q = unit(z).unflatten(0, (2, -1))
        loss = exemplar_loss(q, self.classes, views.rows, self.params.temperature)
        return Step(loss, {"feature_std": feature_std(q[0])}, h.chunk(2))
