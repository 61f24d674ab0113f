"""What the semi-supervised methods share: the network and the slow copy of it that becomes the result."""

import copy

import torch
from torch import nn

from pipeline.nn import ema
from pipeline.nn.classifier import Classifier


class Averaged(nn.Module):
    """A network and its moving average, batch norm's statistics included; `keep` is warmed up (see `ema.warm_keep`)."""

    def __init__(self, net: Classifier, keep: float) -> None:
        super().__init__()
        self.net, self.keep = net, keep
        self.slow = copy.deepcopy(net).requires_grad_(requires_grad=False)

    @property
    def result(self) -> Classifier:
        """The model to evaluate."""
        return self.slow

    @torch.no_grad()
    def after_step(self, step: int, num_steps: int) -> None:  # noqa: ARG002 - the loop's verb
        """Moves the slow copy."""
        ema.update(self.slow, self.net, ema.warm_keep(self.keep, step), buffers=True)
