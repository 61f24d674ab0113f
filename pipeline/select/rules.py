"""What may be picked, whatever the method: no near-duplicates, no outliers, so many of a group, within a cost."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64
from numpy import ndarray
from pydantic import Field

from pipeline.base.params import Block
from pipeline.select.pool import Pool, Space
from pipeline.select.selector import Picks, Selector
from pipeline.select.taken import Taken, min_sq_dist

log = logging.getLogger(__name__)
NEIGHBOURS = 20  # of the density that tells outliers
ROUNDING = 1e-9  # of the largest cost: what sums of costs may lack


class Rules(Block):
    """The block `select.rules`."""

    min_distance: float = Field(ge=0)  # Euclidean, between two labelled images; 0: no rule
    outliers: float = Field(ge=0, lt=1)  # share of the images, the sparsest, that are never picked
    group_most: int = Field(ge=0)  # labelled images of one group, at most; 0: no cap


def choose(
    selector: Selector,
    pool: Pool,
    budget: int,
    seed: int,
    rules: Rules,
    group: Int64[ndarray, " n"],
    cost: Float[ndarray, " n"],
    max_cost: float = 0,
) -> Picks:
    """The selector's picks, less those that break a rule, and again with these labelled until the budget is spent.

    Picks are as many as the budget, and their costs, each above 0, come to `max_cost` at most (0: no limit). Group -1
    is no group. Of two picks that rule each other out, the better ranked one is kept. There are fewer picks than the
    budget only if no other image may be picked; that is logged. Scores of a later pass count as at most the lowest
    before, so ranks stay in order.
    """
    limit = max_cost or np.inf
    barred = pool.barred | outliers(pool.space, rules.outliers)
    fresh, about, passes, more = pool.labelled, dict[str, Any](), 0, 1
    rows: list[int] = []
    scores: list[float] = []
    while len(rows) < budget:
        labelled = np.concatenate([pool.labelled, np.array(rows, np.int64)])
        room, left = budget - len(rows), limit - cost[rows].sum()
        too_dear = cost > left + ROUNDING * limit
        barred = barred | _near(pool.space, fresh, rules) | _full(group, labelled, rules) | too_dear
        at_hand = replace(pool, labelled=labelled, barred=barred)
        num_free = int(at_hand.free.sum())
        if num_free == 0:
            break
        affordable = more * left / cost.mean(where=at_hand.free) + ROUNDING
        wanted = max(1, int(min(num_free, more * room, affordable)))
        picks = selector.select(at_hand, wanted, seed)
        about, passes = about or dict(picks.about), passes + 1
        kept = _admitted(pool.space, picks.rows, group, labelled, cost, room, left, rules)
        low = scores[-1] if scores else np.inf
        scores += np.minimum(picks.scores[kept], low).tolist()
        fresh = picks.rows[kept]
        rows += fresh.tolist()
        # If a pass spends little, as its picks are dear or rule each other out, the next one asks for more.
        more = 2 * more if len(fresh) < room / 2 and cost[fresh].sum() < left / 2 else 1
    if len(rows) < budget:
        log.info("select: %d picks of %d: no other image may be picked", len(rows), budget)
    return Picks(np.array(rows, np.int64), np.array(scores), {**about, "passes": passes})


def outliers(space: Space, share: float) -> Bool[ndarray, " n"]:
    """The rows of lowest density, at most `share` of all: fewer if some are as sparse as the next ones."""
    if share == 0:
        return np.zeros(len(space.rows), bool)
    mean = space.mean_sq_dist(NEIGHBOURS)
    return mean > np.sort(mean)[len(mean) - 1 - int(share * len(mean))]


def _sq_least(space: Space, rules: Rules) -> float:
    """The squared distance that two labelled images have at least."""
    return max(rules.min_distance**2, space.copy_sq_dist)


def _near(space: Space, rows: Int64[ndarray, " k"], rules: Rules) -> Bool[ndarray, " n"]:
    """Which rows are nearer to one of `rows` than `rules.min_distance`."""
    if rules.min_distance == 0 or len(rows) == 0:
        return np.zeros(len(space.rows), bool)
    return min_sq_dist(space.centred, np.arange(len(space.x)), rows) < _sq_least(space, rules)


def _full(group: Int64[ndarray, " n"], labelled: Int64[ndarray, " l"], rules: Rules) -> Bool[ndarray, " n"]:
    """Which rows are of a group that has as many labelled images as it may."""
    if rules.group_most == 0:
        return np.zeros(len(group), bool)
    count = np.bincount(group[labelled] + 1, minlength=group.max() + 2)
    return (count >= rules.group_most)[group + 1] & (group >= 0)


def _admitted(
    space: Space,
    rows: Int64[ndarray, " k"],
    group: Int64[ndarray, " n"],
    labelled: Int64[ndarray, " l"],
    cost: Float[ndarray, " n"],
    room: int,
    left: float,
    rules: Rules,
) -> Int64[ndarray, " a"]:
    """Which of the picks `rows`, by their place, may be labelled together; none of them is barred alone."""
    count = np.bincount(group[labelled] + 1, minlength=group.max() + 2)
    left *= 1 + ROUNDING
    taken = Taken(space.centred, _sq_least(space, rules), len(rows)) if rules.min_distance else None
    kept: list[int] = []
    for place, row in enumerate(rows):
        full = rules.group_most and group[row] >= 0 and count[group[row] + 1] >= rules.group_most
        if len(kept) == room or full or cost[row] > left:
            continue
        if taken is not None:
            if taken.copies(rows[place : place + 1])[0]:
                continue
            taken.add(rows[place : place + 1])
        kept.append(place)
        count[group[row] + 1] += 1
        left -= cost[row]
    return np.array(kept, np.int64)
