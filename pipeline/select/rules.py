"""What may be picked, whatever the method: no two near-duplicates, no outliers, so many of a group, within a cost."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64
from numpy import ndarray
from pydantic import Field

from pipeline.base.errors import ParamsError
from pipeline.base.params import Block
from pipeline.select.geometry import lowered, raised
from pipeline.select.pool import Pool, Space
from pipeline.select.selector import Picks, Selector, nearest_of

log = logging.getLogger(__name__)
NEIGHBOURS = 20  # of the density that tells outliers
ROUNDING = 1e-9  # of a budget: what sums of costs may lack


class Rules(Block):
    """The block `select.rules`."""

    min_distance: float = Field(ge=0)  # Euclidean, between two images that have a label; 0: no rule
    outliers: float = Field(ge=0, lt=1)  # share of images, the sparsest, that are not picked
    group_most: int = Field(ge=0)  # images of one group that have a label, at most; 0: no cap


def choose(
    selector: Selector,
    pool: Pool,
    budget: float,
    seed: int,
    rules: Rules,
    group: Int64[ndarray, " n"],
    cost: Float[ndarray, " n"],
) -> Picks:
    """The selector's picks, less those that break a rule, and again with these labelled until the budget is spent.

    The budget is spent by the cost of each pick, above 0 and 1 each where images are counted; group -1 is no group. Of
    two picks that rule each other out the better ranked is kept. There are fewer picks than the budget only where no
    image is left that may be picked; that is logged. Scores of a later pass count as at most the lowest before, so
    ranks stay in order.
    """
    barred = pool.barred | outliers(pool.space, rules.outliers)
    fresh, about, passes, more = pool.labelled, dict[str, Any](), 0, 1
    rows: list[int] = []
    scores: list[float] = []
    while True:
        labelled = np.concatenate([pool.labelled, np.array(rows, np.int64)])
        left = budget - cost[rows].sum()
        affordable = cost <= left + ROUNDING * budget
        barred = barred | _near(pool.space, fresh, rules) | _full(group, labelled, rules) | ~affordable
        at_hand = replace(pool, labelled=labelled, barred=barred)
        num_free = int(at_hand.free.sum())
        if num_free == 0:
            break
        wanted = min(num_free, max(1, int(more * left / cost.mean(where=at_hand.free) + ROUNDING)))
        found = selector.select(at_hand, wanted, seed)
        about, passes = about or dict(found.about), passes + 1
        kept = _admitted(pool.space, found.rows, group, np.bincount(group[labelled] + 1), cost, left, rules)
        low = scores[-1] if scores else np.inf
        scores += np.minimum(found.scores[kept], low).tolist()
        fresh = found.rows[kept]
        rows += fresh.tolist()
        # Where a pass spends little, as its picks are dear or rule each other out, the next one asks for more.
        more = 2 * more if cost[fresh].sum() < left / 2 else 1
    if not rows:
        raise ParamsError(
            "select.rules: expected an image that may be picked, found none: each has a label, is near one that has, "
            "an outlier, of a full group or dearer than the budget"
        )
    if len(rows) < budget and (cost == 1).all():
        log.info("select: %d picks of %g: no other image may be picked", len(rows), budget)
    return Picks(np.array(rows, np.int64), np.array(scores), {**about, "passes": passes})


def outliers(space: Space, share: float) -> Bool[ndarray, " n"]:
    """The rows of lowest density, at most `share` of all: fewer where some are as sparse as the next ones."""
    if share == 0:
        return np.zeros(len(space.rows), bool)
    mean = space.mean_sq_dist(NEIGHBOURS)
    return mean > np.sort(mean)[len(mean) - 1 - int(share * len(mean))]


def _near(space: Space, rows: Int64[ndarray, " k"], rules: Rules) -> Bool[ndarray, " n"]:
    if rules.min_distance == 0 or len(rows) == 0:
        return np.zeros(len(space.rows), bool)
    return nearest_of(space.centred, np.arange(len(space.x)), rows) < max(rules.min_distance**2, space.floor)


def _full(group: Int64[ndarray, " n"], labelled: Int64[ndarray, " l"], rules: Rules) -> Bool[ndarray, " n"]:
    if rules.group_most == 0:
        return np.zeros(len(group), bool)
    count = np.bincount(group[labelled] + 1, minlength=group.max() + 2)
    return (count >= rules.group_most)[group + 1] & (group >= 0)


def _admitted(
    space: Space,
    rows: Int64[ndarray, " k"],
    group: Int64[ndarray, " n"],
    count: Int64[ndarray, " g"],
    cost: Float[ndarray, " n"],
    left: float,
    rules: Rules,
) -> Int64[ndarray, " a"]:
    """Which of the picks `rows`, by their place, none of them barred alone, may be labelled together."""
    count = np.concatenate([count, np.zeros(group.max() + 2 - len(count), np.int64)])
    most = left * (1 + ROUNDING)
    if rules.min_distance:
        x, sq_least = space.centred, max(rules.min_distance**2, space.floor)
        taken = np.empty((len(rows), x.shape[1] + 2), np.float32)
    kept: list[int] = []
    for place, row in enumerate(rows):
        if cost[row] > most or (rules.group_most and group[row] >= 0 and count[group[row] + 1] >= rules.group_most):
            continue
        if rules.min_distance:
            if kept and (taken[: len(kept)] @ raised(x[row : row + 1])[0]).min() < sq_least:
                continue
            taken[len(kept)] = lowered(x[row : row + 1])[0]
        kept.append(place)
        count[group[row] + 1] += 1
        most -= cost[row]
    return np.array(kept, np.int64)
