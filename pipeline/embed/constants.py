"""What joins the views: each one's mean and axes, from all training images, and its weight, from a sample of them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from numpy import ndarray

from pipeline.base import rng
from pipeline.embed import agreement
from pipeline.embed.moments import Moments
from pipeline.embed.own import Own
from pipeline.nn.backbones import Backbone
from pipeline.nn.centre import Centre, unit
from pipeline.nn.embedder import BACKBONE, INTERMEDIATE, Embedder, View

MOST = {"pixels": 64, "hog": 96, INTERMEDIATE: 96}  # dimensions that a view keeps, where `embed.dim` does not say fewer
OWN = "own"
Rows = Int64[ndarray, " b"]  # of the index
Raw = Float32[ndarray, "b r"]


@dataclass(frozen=True)
class Joined:
    """All views of the images: the embedder's, and after them the user's own, which no embedder can compute."""

    embedder: Embedder
    columns: Int64[ndarray, " c"]  # of the raw rows: those that the embedder takes
    own: Own | None
    centre: Centre | None  # of the own vectors
    view: View | None

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each view."""
        views = [View(**view) for view in self.embedder.about["views"]]
        return {view.name: view.weight for view in (*views, *([self.view] if self.view else []))}

    @property
    def about(self) -> dict[str, Any]:
        """What embedder.json says beyond the embedder's own description."""
        return {OWN: asdict(self.view)} if self.view else {}

    def vectors(self, rows: Rows, raw: Raw) -> Float32[ndarray, "b d"]:
        """The unit vectors of these rows of the index, of what was seen of them."""
        parts = [self.embedder.weighed(torch.from_numpy(raw[:, self.columns]))]
        if self.own and self.centre and self.view and self.view.weight > 0:
            parts.append(self.centre(torch.from_numpy(self.own.of(rows))) * self.view.weight**0.5)
        return unit(torch.cat(parts, dim=1)).numpy()


def fit(
    net: Backbone,
    widths: Mapping[str, int],
    dim: int,
    own: Own | None,
    every: Int64[ndarray, " n"],
    blocks: Iterable[tuple[Rows, Raw]],
) -> Joined:
    """Constants and weights from `blocks` of raw rows, the columns of whose views are `widths` wide, in their order.

    `every` are the rows of the index, sorted, that come in blocks; one is in memory at a time, with the sample.
    """
    most = {name: min(dim, MOST.get(name.rstrip("0123456789"), dim)) for name in widths}
    sums = {name: Moments(raw, most[name]) for name, raw in widths.items()}
    if own:
        sums[OWN] = Moments(own.dim, dim)
    ends = np.cumsum(list(widths.values()))
    chance = rng.stream(0, "embed", "agreement")
    sample = every[np.sort(chance.choice(len(every), min(len(every), agreement.MOST), replace=False))]
    sampled = {name: np.empty((len(sample), len(part.total)), np.float32) for name, part in sums.items()}
    for rows, raw in blocks:
        seen = dict(zip(widths, np.split(raw, ends[:-1], axis=1), strict=True))
        if own:
            seen[OWN] = own.of(rows)
        wanted = np.isin(rows, sample)
        for name, x in seen.items():
            sums[name].add(x)
            sampled[name][np.searchsorted(sample, rows[wanted])] = x[wanted]
    centres = {name: part.centre() for name, part in sums.items()}
    small = {name: centre(torch.from_numpy(sampled[name])).numpy() for name, centre in centres.items()}
    views = {name: _view(name, centre, small) for name, centre in centres.items()}
    embedder = Embedder(net, [views[name] for name in widths])
    embedder.centres = torch.nn.ModuleDict({view.name: centres[view.name] for view in embedder.views})
    taken = [np.full(raw, views[name].weight > 0) for name, raw in widths.items()]
    return Joined(embedder, np.flatnonzero(np.concatenate(taken)), own, centres.get(OWN), views.get(OWN))


def _view(name: str, centre: Centre, sample: Mapping[str, Float32[ndarray, "m _"]]) -> View:
    agreed = 1.0 if name == BACKBONE else agreement.agreement(sample[name], sample[BACKBONE])
    # A layer of the network counts by its agreement itself, as it was measured (docs/log.md).
    of_network = name.startswith((BACKBONE, INTERMEDIATE))
    counts = max(0.0, agreed) if of_network else agreement.weight(agreed)
    return View(name, len(centre.mean), centre.dim if counts > 0 else 0, counts, agreed)
