"""Methods that tell classes by the cosine to a vector of each: ProxyNCA++."""

from typing import TypeVar

from pipeline.base.params import Block
from pipeline.fit import Step
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import LINEAR, Cosine
from pipeline.nn.mlp import Layers
from pipeline.train.batch import SemiBatch
from pipeline.train.head_start import start_layers
from pipeline.train.labelled_only import LabelledOnly
from pipeline.train.losses import labelled_ce
from pipeline.train.pixels import Pixels

P = TypeVar("P", bound=Block)


class ByCosine(LabelledOnly[P]):
    """A network with a `Cosine` head. Beside it a linear layer learns, and sends no gradient into the features."""

    def cosine(self, dim: int, layers: Layers, temperature: float) -> Cosine:
        """The head, with a projector of these layers on `dim` features."""
        classes = self.task.targets.classes
        return Cosine(dim, {"label": classes, LINEAR: classes}, layers=layers, temperature=temperature)

    def start(self, images: Pixels) -> None:
        """Of the head the linear layer alone may start as `train.head` says."""
        self.train()  # as in the steps to come
        start_layers([cosine(net).layer for net in (self.net, self.ema_net)], self.net, images, self.task)

    def loss(self, batch: SemiBatch) -> Step:
        """Mean cross-entropy on the weak views; the linear layer's beside it touches that layer only."""
        found, label = self.net(batch.labelled), batch.label[:, 0]
        logs = {"labelled": labelled_ce(found["label"], label), "linear": labelled_ce(found[LINEAR].float(), label)}
        return Step(logs["labelled"] + logs["linear"], logs)


def cosine(net: Classifier) -> Cosine:
    """The head."""
    assert isinstance(net.head, Cosine)
    return net.head
