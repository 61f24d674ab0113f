"""Two networks side by side, of which one sees an image's lightness and the other its colours."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.nn.architecture import Architecture
from pipeline.nn.lab import lab
from pipeline.nn.resnets import SmallResNet

HALF_LIGHTNESS, MOST_COLOUR = 50.0, 110.0  # of L, and about the most of a and b


class Split(nn.Module):
    """The networks, less pooling: `lightness` takes the first channel, `colours` the others, where there are both."""

    def __init__(self, trunks: dict[str, nn.Module]) -> None:
        super().__init__()
        self.trunks = nn.ModuleDict(trunks)

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """The features of all networks, joined."""
        return torch.cat([maps.mean(dim=(2, 3)) for maps in self.maps(x).values()], dim=1)

    def maps(self, x: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b c s t"]]:
        """The last maps of each network; their means are its features."""
        given = {"lightness": x[:, :1], "colours": x[:, 1:]}
        return {name: trunk(given[name]) for name, trunk in self.trunks.items()}


class SplitResNet(Architecture):
    """Two small ResNets of half the width each, which see L and ab of CIE Lab, or a single one of all the width.

    For `split_brain`; any other method can train it too.
    """

    width: int = Field(ge=32, multiple_of=2)  # of the first stage, of both networks together
    stem_stride: Literal[1, 2]
    sees: Literal["both", "lightness"]

    def build(self, channels: int) -> tuple[nn.Module, int]:
        """Raises ParamsError for other images than RGB."""
        if channels != 3:
            raise ParamsError(
                f"pretrain.backbones.split_resnet: expected images of 3 channels (ingest.mode: rgb), got {channels}"
            )
        split = {"lightness": 1, "colours": 2} if self.sees == "both" else {"lightness": 1}
        half = SmallResNet(width=self.width // len(split), stem_stride=self.stem_stride)
        trunks: dict[str, nn.Module] = {}
        for name, count in split.items():
            net, dim = half.build(count)
            trunks[name] = nn.Sequential(*list(net.children())[:-2])  # less pooling
        return Split(trunks), dim * len(split)

    def seen(
        self, images: Float[Tensor, "b c h w"], mean: Float[Tensor, "1 c 1 1"], std: Float[Tensor, "1 c 1 1"]
    ) -> Float[Tensor, "b c h w"]:
        """Lab, each channel between about -1 and 1; the statistics of the images do not matter."""
        del std
        light, colours = lab(images.to(mean.dtype)).split([1, 2], dim=1)
        return torch.cat([light / HALF_LIGHTNESS - 1, colours / MOST_COLOUR], dim=1)
