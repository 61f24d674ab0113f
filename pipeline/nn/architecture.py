"""What a block of `pretrain.backbones` is: the options of an architecture, from which its network is built."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from pipeline.base.params import Block


class Architecture(Block, ABC):
    """The options of one kind of network from images (b, channels, h, w) to features (b, dim)."""

    @abstractmethod
    def build(self, channels: int) -> tuple[nn.Module, int]:
        """The network with random weights (torch's own chance), and its feature dimension."""

    def stages(self, body: nn.Module) -> dict[str, int]:
        """The last module of each resolution, by its name in the body, with the channels of its maps (b, c, h, w).

        From the image on, less the one whose mean is the feature; none where the body has no such maps.
        """
        del body
        return {}

    def seen(
        self, images: Float[Tensor, "b c h w"], mean: Float[Tensor, "1 c 1 1"], std: Float[Tensor, "1 c 1 1"]
    ) -> Float[Tensor, "b c h w"]:
        """What the network is given of images in [0, 1]: they less the mean, over the deviation."""
        return (images - mean) / std
