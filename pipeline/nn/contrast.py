"""Losses between the views of a batch, each view against all others: with classes, and with the image alone.

z1 and z2 are the unit projections of both views of the b images of this process; the keys are those of all processes,
with gradient. `own` numbers the keys of this process's 2 b views, first views first.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from pipeline.nn.primitives import in_float32, soft_ce
from pipeline.parallel import dist


def nt_xent(z1: Float[Tensor, "b d"], z2: Float[Tensor, "b d"], temperature: float) -> Float[Tensor, ""]:
    """Each view's cross-entropy for the image's other view among all views but itself (Chen et al. 2020, eq. 1).

    Mean over the 2 b views; the keys are the 2 N views of all processes. With all of them equal it is log(2 N - 1).
    """
    q, keys, itself, own = _views(z1, z2)
    return soft_ce(q, keys, (own + len(keys) // 2) % len(keys), temperature, itself)


@in_float32
def sup_con(
    z1: Float[Tensor, "b d"], z2: Float[Tensor, "b d"], label: Int64[Tensor, " b"], temperature: float
) -> Float[Tensor, ""]:
    """The same for all views of images of its class, mean over these (Khosla et al. 2020, eq. 2, L_out).

    The image's other view is one of them. Where all labels differ it is `nt_xent`.
    """
    q, keys, itself, _ = _views(z1, z2)
    positive = (label.repeat(2)[:, None] == dist.gather(label).repeat(2)) & ~itself
    return soft_ce(q, keys, positive / positive.sum(dim=1, keepdim=True).to(q.dtype), temperature, itself)


def _views(
    z1: Float[Tensor, "b d"], z2: Float[Tensor, "b d"]
) -> tuple[Float[Tensor, "q d"], Float[Tensor, "m d"], Bool[Tensor, "q m"], Int64[Tensor, " q"]]:
    """The views of this process, all keys, which key is the view itself, and the number of each."""
    n, part = dist.global_batch(len(z1))
    first = torch.arange(n, device=z1.device)[part]
    own = torch.cat([first, first + n])
    itself = own[:, None] == torch.arange(2 * n, device=z1.device)
    return torch.cat([z1, z2]), torch.cat([dist.gather(z1), dist.gather(z2)]), itself, own
