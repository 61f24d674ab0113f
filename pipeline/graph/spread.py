"""Labels spread through the graph, and class shares brought to a prior (Zhou et al. 2004; Cuturi 2013).

"Learning with local and global consistency": F = (I - alpha S)^-1 Y, column c of Y the labelled images of class c over
their number. Departures: F is solved for by conjugate gradients; of each image only the `TOP` highest classes are kept;
each row is brought to sum 1, and columns to the prior's shares.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int64
from numpy import ndarray
from torch import Tensor

from pipeline.graph.affinity import Affinity

TOP = 20  # classes that an image keeps, at most
COLUMNS = 64  # that are solved for together
TOLERANCE = 1e-5  # of the residual, relative to the right-hand side
SOLVER_STEPS = 1000  # at most; alpha .9 needs about 30
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
    """(I - alpha S)^-1 sources for 0 <= alpha < 1, all columns at once by conjugate gradients."""
    x, residual = torch.zeros_like(sources), sources.clone()
    direction, square = residual.clone(), residual.square().sum(0)
    wanted = TOLERANCE**2 * square
    tiny = torch.finfo(sources.dtype).tiny
    for _ in range(SOLVER_STEPS):
        if (square <= wanted).all():
            break
        moved = direction - alpha * (affinity.matrix @ direction)
        step = square / (direction * moved).sum(0).clamp(min=tiny)
        x += step * direction
        residual -= step * moved
        before, square = square, residual.square().sum(0)
        direction = residual + square / before.clamp(min=tiny) * direction
    return x


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
        sources[rows[inside], torch.searchsorted(block, labels[inside])] = 1
        found = solve(affinity, sources / count[block], alpha).clamp_(min=0)  # below 0 is rounding
        both = torch.cat([kept, found], dim=1)
        names = torch.cat([classes, block.expand(n, -1)], dim=1)
        kept, place = both.topk(min(TOP, both.shape[1]), dim=1)
        classes = names.gather(1, place)
    total = kept.sum(1, keepdim=True)
    share = kept / total.where(total > 0, torch.ones_like(total))
    return Scores(classes, share, torch.ones(num_classes, dtype=torch.float64, device=device))


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
