"""Colorization: guess a picture's colours from its lightness, as a task beside a method.

Zhang et al. 2016, "Colorful image colorization".
"""

import torch.nn.functional as F
from pydantic import Field
from torch import Generator, nn

from pipeline.base.errors import ParamsError
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.lab import lab
from pipeline.nn.primitives import feature_std
from pipeline.pretrain.colours import ColourBins, map_ce
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised

WHITE = 100.0  # the largest L


class ColorizationParams(MethodParams):
    """The block `pretrain.colorization`."""

    colour_bins: int = Field(ge=2)  # of a and b together, about which the images' own colours lie


class Colorization(SelfSupervised[ColorizationParams]):
    """The task: a 1x1 convolution on the last maps of a view without colours gives the bins of its colours.

    The network sees L in each of its three channels, from 0 for black to 1 for white. Targets are means of ab over the
    places of a map, and hard; they are the view's own, so a view that shifts colours shifts them too. Departures: the
    paper predicts at a finer grid than the last maps, and gives rare colours more weight.
    """

    Params = ColorizationParams
    num_views = 1
    head_at = ""
    whole_images = False

    def __init__(self, backbone: Backbone, params: ColorizationParams, num_images: int, chance: Generator) -> None:
        """Raises ParamsError for other images than RGB."""
        super().__init__(backbone, params, num_images, chance)
        if backbone.about["channels"] != 3:
            raise ParamsError(
                "pretrain.multi_task.colorization: expected 0 without images of 3 channels (ingest.mode: rgb), got "
                f"images of {backbone.about['channels']}"
            )
        self.backbone = backbone
        self.guess = nn.Conv2d(backbone.dim, params.colour_bins, 1)
        self.colours = ColourBins(params.colour_bins, "pretrain.colorization.colour_bins", chance)

    def loss(self, views: Views) -> Step:
        """Raises ParamsError for a backbone without maps, or with fewer places of them in a batch than bins."""
        light, colours = lab(views.first.to(self.backbone.mean.dtype)).split([1, 2], dim=1)
        maps = self.backbone.maps((light / WHITE).expand(-1, 3, -1, -1))
        bins = self.colours(F.adaptive_avg_pool2d(colours, (maps.shape[2], maps.shape[3])))
        return Step(map_ce(self.guess(maps), bins), {"feature_std": feature_std(maps.mean(dim=(2, 3)))})
