"""Skipped picks make way for others, whatever the method: the picks that stay do not move, and rules hold for them."""

import numpy as np
import pytest

from pipeline.select.replaced import choose_others
from pipeline.select.rules import Rules, choose
from pipeline.select.taken import min_sq_dist
from tests.pools import cloud, pool
from tests.select.test_selectors import ALL, made

NO_RULES = Rules(min_distance=0.0, outliers=0.0, group_most=0)
X = cloud(120)


def chosen(name, *requests, budget=12, rules=NO_RULES, group=None, cost=None, max_cost=0.0, given=None):
    groups, cost = np.full(120, -1) if group is None else group, np.ones(120) if cost is None else cost
    skipped = [np.array(request, np.int64) for request in requests]

    def pick(at_hand, count, most):
        return choose(made(name), at_hand, count, 0, rules, groups, cost, most)

    return choose_others(skipped, pick, given or pool(X, labelled=(3, 8)), budget, cost, max_cost)


@ALL
def test_the_others_stay_and_what_a_request_brings_does_not_depend_on_later_ones(name):
    plain = chosen(name).rows.tolist()
    assert (
        plain
        == choose(made(name), pool(X, labelled=(3, 8)), 12, 0, NO_RULES, np.full(120, -1), np.ones(120)).rows.tolist()
    )
    first = [plain[2], plain[7]]
    once = chosen(name, first).rows.tolist()
    assert once[:10] == [row for row in plain if row not in first]
    assert len(set(once)) == 12
    second = [plain[0], once[-1]]  # one of the picks, and one that came in place of another
    twice = chosen(name, first, second)
    assert twice.rows.tolist()[:10] == [row for row in once if row not in second]
    assert not set(twice.rows.tolist()) & {3, 8, *first, *second}
    assert (len(set(twice.rows.tolist())), twice.about["replaced"]) == (12, 4)
    assert (np.diff(twice.scores) <= 0).all()


@pytest.mark.parametrize("name", ["auto", "random", "kcenter"])
def test_rules_groups_and_costs_hold_for_the_picks_that_stay(name):
    group, cost = np.arange(120) // 10, np.where(np.arange(120) % 2, 1.0, 2.0)
    one_each = Rules(min_distance=0.3, outliers=0.1, group_most=1)
    free = pool(X)
    plain = chosen(name, rules=one_each, group=group, cost=cost, max_cost=9, given=free).rows
    found = chosen(name, plain[:2].tolist(), rules=one_each, group=group, cost=cost, max_cost=9, given=free).rows
    assert len(found) >= len(plain) - 1
    assert cost[found].sum() <= 9
    assert len(set(group[found])) == len(found)
    for place, row in enumerate(found):
        assert min_sq_dist(X, np.array([row]), np.delete(found, place))[0] >= 0.3**2


def test_a_group_whose_pick_was_skipped_is_open_again_and_no_image_left_is_fewer_picks():
    group = np.arange(120) // 60
    one_each = Rules(min_distance=0.0, outliers=0.0, group_most=1)
    plain = chosen("random", budget=2, rules=one_each, group=group, given=pool(X)).rows
    found = chosen("random", [plain[0]], budget=2, rules=one_each, group=group, given=pool(X)).rows
    assert found[0] == plain[1]
    assert sorted(group[found]) == [0, 1]
    few = pool(X, barred=tuple(range(4, 120)))
    plain = chosen("random", budget=3, given=few).rows
    found = chosen("random", plain[:2].tolist(), budget=3, given=few).rows
    assert sorted(found) == sorted({0, 1, 2, 3} - {*plain[:2].tolist()})
