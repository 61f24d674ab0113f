"""Split-brain autoencoder: guess an image's colours from its lightness by one network, and its lightness by another.

Zhang et al. 2017, "Split-brain autoencoders: unsupervised learning by cross-channel prediction". A network of lightness
alone learns colorization (Zhang et al. 2016, "Colorful image colorization").
"""

import warnings
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Generator, Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.fit import Step
from pipeline.nn.backbones import Backbone
from pipeline.nn.primitives import feature_std, in_float32
from pipeline.nn.split_resnet import Split, SplitResNet
from pipeline.parallel import dist
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import MethodParams, SelfSupervised

SAMPLE = 256  # colours for each bin that the bins are learnt from, at most


class SplitBrainParams(MethodParams):
    """The block `pretrain.split_brain`."""

    colour_bins: int = Field(ge=2)  # of a and b together, about which the images' own colours lie
    lightness_bins: int = Field(ge=2)  # of L, equally wide


@in_float32
def map_ce(logits: Float[Tensor, "b k h w"], bins: Int64[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """Cross-entropy of the right bin, mean over places and images; log k where all logits are equal."""
    return F.cross_entropy(logits, bins)


def lightness_bins(light: Float[Tensor, "b h w"], count: int) -> Int64[Tensor, "b h w"]:
    """Which of `count` equal parts of [-1, 1] L lies in, as the network sees it."""
    return ((light + 1) * (count / 2)).long().clamp(0, count - 1)


def colour_bins(colours: Float[Tensor, "b 2 h w"], centres: Float[Tensor, "k 2"]) -> Int64[Tensor, "b h w"]:
    """The nearest centre of a and b."""
    rows = colours.movedim(1, -1).flatten(0, 2)
    return torch.cdist(rows, centres).argmin(dim=1).unflatten(0, (len(colours), *colours.shape[2:]))


def colour_centres(colours: Float[Tensor, "n 2"], count: int, seed: int) -> Float[Tensor, "k 2"]:
    """Centres of k-means of a sample of colours; some are alike where there are fewer colours than `count`."""
    from sklearn.cluster import KMeans  # takes a second to load, which other methods need not wait for
    from sklearn.exceptions import ConvergenceWarning

    chance = np.random.default_rng(seed)
    chosen = chance.permutation(len(colours))[: SAMPLE * count]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer colours than bins
        found = KMeans(count, n_init=1, random_state=seed).fit(colours.cpu().numpy()[chosen])
    return torch.from_numpy(found.cluster_centers_.astype(np.float32))


class SplitBrain(SelfSupervised[SplitBrainParams]):
    """The method: a 1x1 convolution on the last maps of each network gives the bins of what the other one sees.

    Targets are means of L and ab over the places of a map, and hard. Departure: the bins of colour are found once, by
    k-means of the first batch's colours, where the paper has a grid of 313.
    """

    Params = SplitBrainParams
    num_views = 1
    head_at = ""
    architecture = SplitResNet
    centres: Tensor

    def __init__(self, backbone: Backbone, params: SplitBrainParams, num_images: int, chance: Generator) -> None:
        super().__init__(backbone, params, num_images, chance)
        self.backbone = backbone
        trunks = cast(Split, backbone.body).trunks
        width, count = backbone.dim // len(trunks), {"lightness": params.colour_bins, "colours": params.lightness_bins}
        self.guess = nn.ModuleDict({name: nn.Conv2d(width, count[name], 1) for name in trunks})
        self.seed = int(torch.randint(2**31 - 1, (1,), generator=chance))
        self.register_buffer("centres", torch.full((params.colour_bins, 2), torch.nan))
        self._found = False

    def loss(self, views: Views) -> Step:
        """Raises ParamsError where the first batch has fewer places of maps than there are bins of colour."""
        seen = self.backbone.normalised(views.first)
        maps = cast(Split, self.backbone.body).maps(seen)
        size = maps["lightness"].shape[2], maps["lightness"].shape[3]
        light, colours = F.adaptive_avg_pool2d(seen, size).split([1, 2], dim=1)
        self._find_centres(colours)
        bins = {
            "lightness": colour_bins(colours, self.centres),
            "colours": lightness_bins(light[:, 0], self.params.lightness_bins),
        }
        terms = {f"from_{name}": map_ce(self.guess[name](x), bins[name]) for name, x in maps.items()}
        features = torch.cat([x.mean(dim=(2, 3)) for x in maps.values()], dim=1)
        return Step(sum(terms.values(), light.new_zeros(())), {**terms, "feature_std": feature_std(features)})

    def _find_centres(self, colours: Float[Tensor, "b 2 h w"]) -> None:
        """In the first step of all, from the batch of all processes; a run that goes on has them in its state."""
        if self._found:
            return
        self._found = True
        if self.centres.isfinite().all():
            return
        rows = dist.gather(colours.movedim(1, -1).flatten(0, 2).contiguous())
        if len(rows) < len(self.centres):
            raise ParamsError(
                f"pretrain.split_brain.colour_bins: expected at most {len(rows)}, the places of the maps of a batch, "
                f"got {len(self.centres)}"
            )
        self.centres.copy_(dist.from_first(colour_centres(rows, len(self.centres), self.seed)))
