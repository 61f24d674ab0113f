"""Labels spread through the graph, and class shares brought to a prior (Zhou et al. 2004; Cuturi 2013).

"Learning with local and global consistency": F = (I - alpha S)^-1 Y, column c of Y the labelled images of class c over
their number. Departures: F is solved for by Chebyshev's iteration; of each image only the `TOP` highest classes are
kept; each row is brought to sum 1, and columns to the prior's shares.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int64
from numpy import ndarray
from torch import Tensor

from pipeline.graph.affinity import Affinity
from pipeline.vectors.rows import blocks

TOP = 20  # classes that an image keeps, at most
COLUMNS = 64  # that are solved for together
TOLERANCE = 1e-6  # of the error, relative to the solution, as far as float32 goes
SINKHORN_STEPS = 50


@dataclass(frozen=True)
class Scores:
    """Of each image its highest classes and how much it has of each; a row sums to 1, or to 0 where no label reaches.

    `scale[c]` is what Sinkhorn multiplied column c of the spread labels by, before rows were brought to sum 1. It is in
    double precision: a class in a small part of the graph drives the scales of the others below what float32 holds.
    """

    classes: Int64[Tensor, "n m"]
    share: Float[Tensor, "n m"]
    scale: Float[Tensor, " k"]

    def dense(self, rows: slice | Int64[ndarray, " b"]) -> Float32[ndarray, "b k"]:
        """Some rows with a column for each class."""
        classes, share = self.classes[rows].cpu(), self.share[rows].cpu()
        return share.new_zeros(len(share), len(self.scale)).scatter_(1, classes, share).numpy()


def solve(affinity: Affinity, sources: Float[Tensor, "n c"], alpha: float) -> Float[Tensor, "n c"]:
    """(I - alpha S)^-1 sources for 0 <= alpha < 1, all columns at once by Chebyshev's semi-iteration.

    The eigenvalues of alpha S lie within +-alpha, so how many steps reach `TOLERANCE` is known before: alpha .9 needs
    32. A step is one product with S and one pass over the columns (Golub and Varga 1961). Nothing arrives at images
    that are more steps away: what they lack is below the tolerance.
    """
    rate = alpha / (1 + math.sqrt(1 - alpha**2))
    num_steps = math.ceil(math.log(TOLERANCE / 2) / math.log(rate)) if rate else 1
    sources = sources[affinity.order]
    before, x, omega = torch.zeros_like(sources), sources.clone(), 2.0
    for _ in range(num_steps - 1):
        omega = 1 / (1 - alpha**2 * omega / 4)
        before.lerp_(torch.addmm(sources, affinity.matrix, x, alpha=alpha), omega)
        before, x = x, before
    before[affinity.order] = x
    return before


def spread(
    affinity: Affinity, rows: Int64[Tensor, " m"], labels: Int64[Tensor, " m"], num_classes: int, alpha: float
) -> Scores:
    """Row i of the result has the highest classes of row i of F, scaled to sum 1; `scale` is 1 throughout."""
    n, device = len(affinity), rows.device
    count = torch.bincount(labels, minlength=num_classes)
    present = count.nonzero().flatten()
    kept = torch.zeros(n, 0, device=device)
    classes = torch.zeros(n, 0, dtype=torch.int64, device=device)
    for block in present.split(COLUMNS):
        inside = torch.isin(labels, block)
        sources = torch.zeros(n, len(block), device=device)
        sources[rows[inside], torch.searchsorted(block, labels[inside])] = 1 / count[labels[inside]]
        found = solve(affinity, sources, alpha).clamp_(min=0)  # below 0 is rounding
        parts = [_highest(kept[part], classes[part], found[part], block) for part in blocks(n, TOP + COLUMNS)]
        kept, classes = (torch.cat(columns) for columns in zip(*parts, strict=True))
    total = kept.sum(1, keepdim=True)
    share = kept / total.where(total > 0, torch.ones_like(total))
    return Scores(classes, share, torch.ones(num_classes, dtype=torch.float64, device=device))


def _highest(
    kept: Float[Tensor, "b m"], classes: Int64[Tensor, "b m"], found: Float[Tensor, "b c"], block: Int64[Tensor, " c"]
) -> tuple[Float[Tensor, "b t"], Int64[Tensor, "b t"]]:
    """The `TOP` highest of each row of both, and the classes that they belong to."""
    both = torch.cat([kept, found], dim=1)
    names = torch.cat([classes, block.expand(len(found), -1)], dim=1)
    highest, place = both.topk(min(TOP, both.shape[1]), dim=1)
    return highest, names.gather(1, place)


def sinkhorn(scores: Scores, prior: Float[Tensor, " k"], steps: int = SINKHORN_STEPS) -> Scores:
    """Columns scaled to sum to n prior_c over the n images that a label reaches, rows to 1, in turn.

    `prior` sums to 1 and is 0 for classes that no image has. The last step is that of the rows.
    """
    share, classes = scores.share.double(), scores.classes.flatten()
    goal = prior.double() * (share.sum(1) > 0).sum()
    scale = torch.ones_like(goal)
    for _ in range(steps):
        column = torch.zeros_like(goal).index_add_(0, classes, share.flatten())
        factor = goal / column.clamp(min=torch.finfo(torch.float64).tiny)
        scale *= factor
        scale /= scale.max()
        share *= factor[scores.classes]
        total = share.sum(1, keepdim=True)
        share /= total.where(total > 0, torch.ones_like(total))
    return Scores(scores.classes, share.float(), scale)


def at_images(
    affinity: Affinity, rows: Int64[Tensor, " q"], sources: Int64[Tensor, " r"], alpha: float
) -> Float[Tensor, "q r"]:
    """What each of the images `rows` has of a source of 1 at each of the images `sources`."""
    parts = []
    for block in sources.split(COLUMNS):
        ones = torch.zeros(len(affinity), len(block), device=rows.device)
        ones[block, torch.arange(len(block), device=rows.device)] = 1
        parts.append(solve(affinity, ones, alpha)[rows])
    return torch.cat(parts, dim=1)
