"""The two losses that most methods are one of, in float32 whatever the precision of the networks.

A, `soft_ce`, tells which of the keys belong to a query; B, `regress`, pulls a query to its targets. What varies around
them is where keys and targets come from. float64 stays float64, for tests of gradients.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from pipeline.parallel import dist

C = TypeVar("C", bound=Callable[..., Any])


def in_float32(function: C) -> C:
    """The function outside autocast, with its bfloat16 tensors as float32."""

    def exact(value: Any) -> Any:
        return value.float() if isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16) else value

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        device = next((a.device.type for a in args if isinstance(a, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*map(exact, args), **{name: exact(value) for name, value in kwargs.items()})

    return cast(C, run)


def passing(x: Float[Tensor, "*b d"], share: float) -> Float[Tensor, "*b d"]:
    """The same values; of the gradient that reaches them the `share` passes on."""
    fixed = x.detach()
    return fixed + share * (x - fixed) if share > 0 else fixed


@in_float32
def unit(x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
    """The same directions, of length 1; a row of zeros stays."""
    return F.normalize(x, dim=-1)


@in_float32
def soft_ce(
    q: Float[Tensor, "b d"],
    keys: Float[Tensor, "m d"],
    targets: Int64[Tensor, " b"] | Float[Tensor, "b m"],
    temperature: float,
    mask: Bool[Tensor, "b m"] | None = None,
) -> Float[Tensor, ""]:
    """Primitive A: cross-entropy of softmax(q keys^T / temperature) against the targets, mean over the b queries.

    Targets are the number of each query's positive key, or weights over all keys; keys where `mask` is true do not
    exist for that query.
    All rows are unit vectors where a cosine is meant. Gradients flow to q, keys and targets unless they are detached.
    """
    logits = q @ keys.T / temperature
    if mask is not None:
        # Not -inf, which times a target of 0 is not a number.
        logits = logits.masked_fill(mask, torch.finfo(logits.dtype).min / 2)
    return F.cross_entropy(logits, targets)


@in_float32
def regress(
    q: Float[Tensor, "b d"], targets: Float[Tensor, "b k d"], weights: Float[Tensor, "b k"] | None = None
) -> Float[Tensor, ""]:
    """Primitive B: sum over k of weights (2 - 2 cos(q, target)), mean over the b queries; without weights each is 1/k.

    Rows need not have unit length. No gradient reaches the targets.
    """
    sq_dists = 2 - 2 * torch.einsum("bd,bkd->bk", unit(q), unit(targets.detach()))
    return (sq_dists.mean(dim=1) if weights is None else (sq_dists * weights).sum(dim=1)).mean()


@in_float32
def class_ce(logits: Float[Tensor, "b k"], classes: Int64[Tensor, " b"]) -> Float[Tensor, ""]:
    """Cross-entropy of softmax(logits) against the right classes, mean over the batch; log k of equal logits."""
    return F.cross_entropy(logits, classes)


def one_hot(numbers: Int64[Tensor, "*b"], count: int) -> Bool[Tensor, "*b k"]:
    """True at each number's place; a row of none for -1. torch's own waits for the device to check the numbers."""
    return numbers[..., None] == torch.arange(count, device=numbers.device)


def feature_std(z: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Standard deviation of directions over the batch of all processes, times sqrt(d): 1 if even, 0 if collapsed."""
    return dist.gather(unit(z.detach())).std(dim=0).mean() * z.shape[1] ** 0.5
