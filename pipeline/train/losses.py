"""Cross-entropy where some labels are missing, as means that several processes agree on."""

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from pipeline.parallel import dist


def labelled_ce(logits: Float[Tensor, "b k"], label: Int64[Tensor, " b"]) -> Float[Tensor, ""]:
    """Mean cross-entropy over the images that have a label (-1: none), of all processes; 0 where no image has one."""
    return mean_of(F.cross_entropy(logits, label, ignore_index=-1, reduction="sum"), (label >= 0).sum())


def mean_of(total: Float[Tensor, ""], count: Int64[Tensor, ""]) -> Float[Tensor, ""]:
    """A sum over `count` images as a mean, 0 where there are none.

    Processes may have different counts: the mean of what each process gets is the mean over all images.
    """
    return total * dist.world() / dist.total(count).clamp(min=1)


def by_level(name: str, level: str) -> str:
    """The name of a column of the curve: the finest level has none of its own."""
    return name if level == "label" else f"{name}_{level}"
