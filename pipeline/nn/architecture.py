"""What a block of `pretrain.backbones` is: the options of an architecture, from which its network is built."""

from abc import ABC, abstractmethod

from torch import nn

from pipeline.base.params import Block


class Architecture(Block, ABC):
    """The options of one kind of network from images (b, channels, h, w) to features (b, dim)."""

    @abstractmethod
    def build(self, channels: int) -> tuple[nn.Module, int]:
        """The network with random weights (torch's own chance), and its feature dimension."""
