"""Bins of colour at the places of a network's maps, for what guesses an image's colours: split-brain, colorization."""

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Generator, Tensor, nn

from pipeline.base.errors import ParamsError
from pipeline.nn.primitives import in_float32
from pipeline.parallel import dist

SAMPLE = 256  # colours for each bin that the bins are learnt from, at most
LEAST_SPAN = 1e-3  # of a or of b in a batch, in Lab's units or over 110; views of grey pictures have 1e-4 by rounding


@in_float32
def map_ce(logits: Float[Tensor, "b k h w"], bins: Int64[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """Cross-entropy of the right bin, mean over places and images; log k where all logits are equal."""
    return F.cross_entropy(logits, bins)


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


class ColourBins(nn.Module):
    """Bins of a and b about the images' own colours, found once, from those of the first batch."""

    centres: Tensor

    def __init__(self, count: int, name: str, chance: Generator) -> None:
        """`count` is the value at `name` in params.yaml."""
        super().__init__()
        self.name, self.seed = name, int(torch.randint(2**31 - 1, (1,), generator=chance))
        self.register_buffer("centres", torch.full((count, 2), torch.nan))
        self._found = False

    def forward(self, colours: Float[Tensor, "b 2 h w"]) -> Int64[Tensor, "b h w"]:
        """The bin at each place. Raises ParamsError where the first batch is grey or has fewer places than bins."""
        self._find_centres(colours)
        return colour_bins(colours, self.centres)

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
                f"{self.name}: expected at most {len(rows)}, the places of the maps of a batch, got {len(self.centres)}"
            )
        if (rows.amax(dim=0) - rows.amin(dim=0)).amax() < LEAST_SPAN:
            raise ParamsError(
                f"{self.name}: expected pictures with colours, got a first batch in grey; use another pretrain.method "
                "or task, or lower pretrain.view.grey_prob"
            )
        self.centres.copy_(dist.from_first(colour_centres(rows, len(self.centres), self.seed)))
