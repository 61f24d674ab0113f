"""How uncertain the last round's model is about each image: what the selectors that need a model share.

A model's probabilities are softmax(features @ weight.T + bias), in double precision and in blocks: a matrix of all of
them is never made.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray

from pipeline.base.errors import ParamsError
from pipeline.select.pool import Outputs, Pool
from pipeline.select.selector import Picks
from pipeline.vectors.rows import CACHED_NUMBERS, blocks

DIGITS = 12  # of an uncertainty that count: the rest is rounding, which must not decide between two copies


def outputs_of(pool: Pool, method: str) -> Outputs:
    """The last model's outputs; without them a ParamsError says how `method` can have them."""
    if pool.outputs is None:
        raise ParamsError(
            f"select.method: {method} needs the outputs of a trained model: expected data/rounds/outputs, found none; "
            "`python -m stages.keep_round` writes them"
        )
    return pool.outputs


def blocks_of(outputs: Outputs, num_rows: int) -> Iterator[slice]:
    """So many images in blocks whose features and logits are small enough for copies."""
    return blocks(num_rows, max(outputs.weight.shape), CACHED_NUMBERS)


def logits(outputs: Outputs, features: Float32[ndarray, "b f"]) -> Float[ndarray, "b c"]:
    """The linear layer on top of features, in double precision."""
    return features.astype(np.float64) @ outputs.weight.T.astype(np.float64) + outputs.bias


def probabilities(outputs: Outputs, features: Float32[ndarray, "b f"]) -> Float[ndarray, "b c"]:
    p = logits(outputs, features)
    p -= p.max(axis=1, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(axis=1, keepdims=True)
    return p


def margin_uncertainty(p: Float[ndarray, "b c"]) -> Float[ndarray, " b"]:
    """1 - margin, in [0, 1]; the margin is the difference of the two highest probabilities, 1 of a single class."""
    if p.shape[1] == 1:
        return np.zeros(len(p))
    two = np.partition(p, p.shape[1] - 2, axis=1)[:, -2:]
    return 1 - (two[:, 1] - two[:, 0])


def entropy(p: Float[ndarray, "b c"]) -> Float[ndarray, " b"]:
    """Entropy in nats, from 0 to log c; 0 log 0 is 0."""
    return -(p * np.log(p, out=np.zeros_like(p), where=p > 0)).sum(axis=1)


def of_all_images(
    outputs: Outputs, value: Callable[[Float[ndarray, "b c"]], Float[ndarray, " b"]]
) -> Float[ndarray, " n"]:
    """`margin_uncertainty` or `entropy` of every image, to `DIGITS` digits."""
    values = np.empty(len(outputs.features))
    for part in blocks_of(outputs, len(values)):
        values[part] = value(probabilities(outputs, outputs.features[part]))
    return np.round(values, DIGITS) + 0.0  # and not -0


def highest(pool: Pool, value: Float[ndarray, " n"], budget: int) -> Picks:
    """The free rows of highest value, which is the score; on ties the lowest row. Copies are picked like any other."""
    free = np.flatnonzero(pool.free)
    rows = free[np.argsort(-value[free], kind="stable")[:budget]]
    return Picks(rows, value[rows])
