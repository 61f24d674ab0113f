"""Which images belong together: those that are neighbours of the same images, and who belongs to these.

Zhang et al. 2023, "PromptCAL", section 3.3: consensus of neighbours, a step of diffusion, a quantile; labels overrule.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from pipeline.nn.primitives import in_float32
from pipeline.parallel import dist


@torch.no_grad()
@in_float32
def affinity(
    nodes: Float[Tensor, "n d"],
    absent: Bool[Tensor, " n"],
    own: Int64[Tensor, " b"],
    label: Int64[Tensor, " n"],
    neighbours: int,
) -> Float[Tensor, "b n"]:
    """How much each node belongs to each of the nodes `own`: S + S R, which has rows that sum to 2.

    R_ij counts the nodes of which both i and j are among the `neighbours` nearest, or which are one of them, over its
    sum in row i. S are R's rows of `own`, in which a node of the same class has the row's most, and one of another
    class 0. Nodes are unit vectors, `label` is -1 where there is none; `absent` nodes are not there.
    """
    n, k = len(nodes), neighbours
    found = (nodes @ nodes.T).masked_fill(absent, -torch.inf).topk(k + 1, dim=1).indices
    # Row c: the neighbourhood of node c, itself in it; absent nodes have none.
    member = torch.zeros(n, n, device=nodes.device, dtype=nodes.dtype).scatter_(1, found, 1.0)
    member = member.masked_fill(absent[:, None], 0.0)
    times = member.sum(dim=0).clamp(min=1.0)  # in how many neighbourhoods each node is; in each with k others
    together = (member[:, own].T @ member).scatter_(1, own[:, None], 0.0)
    same, other = by_label(label, own)
    start = torch.where(same, together.amax(dim=1, keepdim=True), together).masked_fill(other, 0.0)
    start.scatter_(1, own[:, None], 0.0)
    start = start / start.sum(dim=1, keepdim=True).clamp(min=torch.finfo(start.dtype).tiny)
    spread = start / (k * times)
    return start + (spread @ member.T) @ member - spread * times


def belonging(
    found: Float[Tensor, "b n"], own: Int64[Tensor, " b"], label: Int64[Tensor, " n"], quantile: float
) -> Bool[Tensor, "b n"]:
    """Which nodes are positives of those of `own`: itself, those of its class, and others by their affinity.

    Without two labels that decide it, an affinity counts above the `quantile` of those of all processes that are not 0.
    """
    every = dist.gather(found)
    least = every.masked_fill(every <= 0, torch.nan).nanquantile(quantile)
    same, other = by_label(label, own)
    return (((found > least) & ~other) | same).scatter(1, own[:, None], value=True)


def by_label(label: Int64[Tensor, " n"], own: Int64[Tensor, " b"]) -> tuple[Bool[Tensor, "b n"], Bool[Tensor, "b n"]]:
    """Which nodes are of the same class as those of `own`, and which of another; neither without both labels."""
    known = (label[own, None] >= 0) & (label >= 0)
    same = known & (label[own, None] == label)
    return same, known & ~same
