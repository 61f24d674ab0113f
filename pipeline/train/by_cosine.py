"""Methods that tell classes by the cosine to a vector of each: ProxyNCA++ and t-ReX."""

from typing import TypeVar

from torch import nn

from pipeline.base.params import Block
from pipeline.fit import Batch
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import LINEAR, Cosine
from pipeline.nn.mlp import described
from pipeline.train.head_start import start_layers
from pipeline.train.method import EmaMethod
from pipeline.train.pixels import Pixels

P = TypeVar("P", bound=Block)


class ByCosine(EmaMethod[Batch, P]):
    """A network with a `Cosine` head. Beside it a linear layer learns, and sends no gradient into the features."""

    def cosine(self, dim: int, layers: nn.Sequential, temperature: float) -> Cosine:
        """The head, with a projector of these layers on `dim` features."""
        classes = self.task.targets.classes
        return Cosine(dim, {"label": classes, LINEAR: classes}, layers=described(layers), temperature=temperature)

    def start(self, images: Pixels) -> None:
        """Of the head the linear layer alone may start as `train.head` says."""
        self.train()  # as in the steps to come
        start_layers([cosine(net).layer for net in (self.net, self.ema_net)], self.net, images, self.task)


def cosine(net: Classifier) -> Cosine:
    """The head."""
    assert isinstance(net.head, Cosine)
    return net.head
