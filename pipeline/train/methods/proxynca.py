"""ProxyNCA++: an embedding in which images lie near the proxy of their class (Teh et al. 2020).

"ProxyNCA++: Revisiting and revitalizing proxy neighborhood component analysis". It is made for images of classes that
have no label yet: those of one class are to be near each other.
"""

from collections.abc import Callable

from pydantic import Field
from torch import nn

from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.heads import LINEAR, Cosine
from pipeline.train.batch import SemiBatch, SemiFeed
from pipeline.train.by_cosine import ByCosine, cosine
from pipeline.train.losses import labelled_ce
from pipeline.train.pixels import Pixels
from pipeline.train.task import Task


class ProxyNcaParams(Block):
    """The block `train.proxynca`."""

    dim: int = Field(ge=1)  # of the embedding
    scale: float = Field(gt=0)  # of embeddings and proxies: 1 / scale^2 is the temperature of squared distances
    proxy_rate: float = Field(gt=0)  # rate of the proxies, as a multiple


class ProxyNca(ByCosine[SemiBatch, ProxyNcaParams]):
    """Cross-entropy of -scale^2 |unit(x) - unit(p)|^2 over the classes, p their proxies.

    The squared distance of unit vectors is 2 - 2 cosine, so this is a cosine softmax of temperature 1 / (2 scale^2).
    x is a linear layer on the features, which come to mean 0 and variance 1 in each image. Departures: the backbone
    pools its features, by their mean as a rule, the paper by their maximum; everything learns from the first step on.
    """

    Params = ProxyNcaParams

    def __init__(self, backbone: Backbone, task: Task, params: ProxyNcaParams) -> None:
        super().__init__(backbone, task, params)
        self.rate_scale = ((cosine(self.net).vectors, params.proxy_rate),)

    def head(self, dim: int) -> Cosine:
        """The embedding, and a proxy of each class."""
        layers = nn.Sequential(nn.LayerNorm(dim, elementwise_affine=False), nn.Linear(dim, self.params.dim))
        return self.cosine(dim, layers, 1 / (2 * self.params.scale**2))

    def feed(self, images: Pixels) -> Callable[[int], SemiBatch]:
        return SemiFeed(images, self.task)

    def loss(self, batch: SemiBatch) -> Step:
        """Mean cross-entropy on the weak views; the linear layer's beside it touches that layer only."""
        found, label = self.net(batch.labelled), batch.label[:, 0]
        logs = {"labelled": labelled_ce(found["label"], label), "linear": labelled_ce(found[LINEAR].float(), label)}
        return Step(logs["labelled"] + logs["linear"], logs)
