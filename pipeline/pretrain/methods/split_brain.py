"""Split-brain autoencoder: guess an image's colours from its lightness by one network, and its lightness by another.

Zhang et al. 2017, "Split-brain autoencoders: unsupervised learning by cross-channel prediction". A network of lightness
alone learns colorization (Zhang et al. 2016, "Colorful image colorization").
"""

from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Generator, Tensor, nn

from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.primitives import feature_std
from pipeline.nn.split_resnet import Split, SplitResNet
from pipeline.pretrain.colours import ColourBins, map_ce
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised


class SplitBrainParams(MethodParams):
    """The block `pretrain.split_brain`."""

    colour_bins: int = Field(ge=2)  # of a and b together, about which the images' own colours lie
    lightness_bins: int = Field(ge=2)  # of L, equally wide


def lightness_bins(light: Float[Tensor, "b h w"], count: int) -> Int64[Tensor, "b h w"]:
    """Which of `count` equal parts of [-1, 1] L lies in, as the network sees it."""
    return ((light + 1) * (count / 2)).long().clamp(0, count - 1)


class SplitBrain(SelfSupervised[SplitBrainParams]):
    """The method: a 1x1 convolution on the last maps of each network gives the bins of what the other one sees.

    Targets are means of L and ab over the places of a map, and hard. Departure: the bins of colour are found once, by
    k-means of the first batch's colours, where the paper has a grid of 313.
    """

    Params = SplitBrainParams
    num_views = 1
    head_at = ""
    architecture = SplitResNet

    def __init__(self, backbone: Backbone, params: SplitBrainParams, num_images: int, chance: Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.backbone = backbone
        trunks = cast(Split, backbone.body).trunks
        width, count = backbone.dim // len(trunks), {"lightness": params.colour_bins, "colours": params.lightness_bins}
        self.guess = nn.ModuleDict({name: nn.Conv2d(width, count[name], 1) for name in trunks})
        self.colours = ColourBins(params.colour_bins, "pretrain.split_brain.colour_bins", chance)

    def loss(self, views: Views) -> Step:
        """Raises ParamsError where the first batch has fewer places of maps than there are bins of colour."""
        seen = self.backbone.normalised(views.first)
        maps = cast(Split, self.backbone.body).maps(seen)
        size = maps["lightness"].shape[2], maps["lightness"].shape[3]
        light, colours = F.adaptive_avg_pool2d(seen, size).split([1, 2], dim=1)
        bins = {
            "lightness": self.colours(colours),
            "colours": lightness_bins(light[:, 0], self.params.lightness_bins),
        }
        terms = {f"from_{name}": map_ce(self.guess[name](x), bins[name]) for name, x in maps.items()}
        features = torch.cat([x.mean(dim=(2, 3)) for x in maps.values()], dim=1)
        return Step(sum(terms.values(), light.new_zeros(())), {**terms, "feature_std": feature_std(features)})
