"""Rules that hold whatever the method is: near-duplicates, outliers, groups, costs."""

import logging

import numpy as np

from pipeline.select.methods.random import Random
from pipeline.select.rules import Rules, choose, outliers
from tests.pools import cloud, pool, selector
from tests.select.test_selectors import ALL

NONE = {"min_distance": 0.0, "outliers": 0.0, "group_most": 0}


def chosen(given, budget, *, by="random", seed=0, group=None, cost=None, max_cost=0, **rules):
    n = len(given.x)
    group = np.full(n, -1) if group is None else group
    cost = np.ones(n) if cost is None else cost
    return choose(selector(by), given, budget, seed, Rules(**{**NONE, **rules}), group, cost, max_cost)


@ALL
def test_without_rules_the_picks_are_the_selectors_own(name):
    x = cloud(100)
    own, found = selector(name).select(pool(x), 12, 3), chosen(pool(x), 12, by=name, seed=3)
    assert found.rows.tolist() == own.rows.tolist()
    assert found.scores.tolist() == own.scores.tolist()
    assert found.about["passes"] == 1


@ALL
def test_near_duplicates_are_never_picked_twice(name):
    chance = np.random.default_rng(0)
    x = (np.repeat(cloud(30), 6, axis=0) + chance.normal(size=(180, 5)) / 500).astype(np.float32)
    found = chosen(pool(x, labelled=(0, 7)), 28, by=name, min_distance=0.05)
    assert sorted((found.rows // 6).tolist()) == list(range(2, 30))  # one of each left, none of the labelled ones'
    assert (np.diff(found.scores) <= 0).all()


def test_where_only_near_duplicates_are_left_there_are_fewer_picks_and_the_log_says_so(caplog):
    caplog.set_level(logging.INFO)
    x = np.repeat(cloud(5), 4, axis=0)
    found = chosen(pool(x), 8, min_distance=1e-6)
    assert sorted((found.rows // 4).tolist()) == [0, 1, 2, 3, 4]
    assert caplog.messages[-1] == "select: 5 picks of 8: no other image may be picked"


def test_the_distance_is_euclidean_and_strict():
    x = np.array([[0, 0], [3, 4], [10, 0]], np.float32)
    assert len(chosen(pool(x), 3, min_distance=4.99).rows) == 3
    assert len(chosen(pool(x), 3, min_distance=5.01).rows) == 2


def test_outliers_are_the_sparsest_share():
    x = np.concatenate([cloud(200, 3) / 10, np.array([[9, 0, 0], [0, 8, 0], [0, 0, 7]], np.float32)])
    space = pool(x).space
    assert np.flatnonzero(outliers(space, 3 / 203)).tolist() == [200, 201, 202]
    assert np.flatnonzero(outliers(space, 1 / 203)).tolist() == [200]
    assert not outliers(space, 0.0).any()
    assert not outliers(pool(np.ones((50, 2), np.float32)).space, 0.5).any()  # none is sparser than the next


@ALL
def test_outliers_are_not_picked(name):
    x = np.concatenate([cloud(200, 3) / 10 + 1, np.array([[9, 0, 0], [0, 8, 0], [0, 0, 7]], np.float32)])
    assert chosen(pool(x), 40, by=name, outliers=3 / 203).rows.max() < 200


@ALL
def test_no_group_has_more_than_its_cap_labelled_ones_among_them(name):
    x, group = cloud(90), np.arange(90) % 9
    group[group == 8] = -1  # no group: no cap
    found = chosen(pool(x, labelled=(0, 1, 9)), 20, by=name, group=group, group_most=2)
    counts = np.bincount(group[[0, 1, 9, *found.rows]] + 1, minlength=9)
    assert len(found.rows) == 20
    assert counts[1:].max() == 2
    assert counts[0] >= 20 - 13
    assert (np.diff(found.scores) <= 0).all()


def test_images_of_a_full_group_are_not_offered(monkeypatch):
    offered, select = [], Random.select
    monkeypatch.setattr(
        Random, "select", lambda self, pool, *more: offered.append(pool.free) or select(self, pool, *more)
    )
    found = chosen(pool(cloud(6), labelled=(0,)), 2, group=np.array([0, 0, 0, 1, 1, 1]), group_most=1)
    assert [free.tolist() for free in offered] == [[False] * 3 + [True] * 3]
    assert len(found.rows) == 1


@ALL
def test_picks_cost_no_more_than_may_be_spent_and_nothing_that_is_left_could_be_paid_for(name):
    cost = np.random.default_rng(1).uniform(0.5, 3, size=120)
    found = chosen(pool(cloud(120)), 120, by=name, cost=cost, max_cost=20)
    spent = cost[found.rows].sum()
    assert 20 - np.delete(cost, found.rows).min() < spent <= 20


def test_the_budget_or_the_cost_is_reached_first():
    cost = np.full(60, 2.0)
    assert len(chosen(pool(cloud(60)), 8, cost=cost, max_cost=20).rows) == 8
    assert len(chosen(pool(cloud(60)), 12, cost=cost, max_cost=20).rows) == 10
    assert len(chosen(pool(cloud(60)), 12, cost=cost).rows) == 12  # 0: no limit


def test_passes_ask_for_more_where_picks_are_dear():
    """A hundred dear images look best, and one pass that asks for as many as are paid for on average buys few."""
    x = cloud(600)
    cost = np.where(np.arange(600) < 300, 1.0, 100.0)
    found = chosen(pool(x), 600, by="margin", cost=cost, max_cost=290)
    assert 190 < cost[found.rows].sum() <= 290
    assert found.about["passes"] < 12


def test_the_record_is_that_of_the_first_pass():
    x = np.repeat(cloud(40), 5, axis=0)
    found = chosen(pool(x), 30, by="facility_location", group=np.arange(200) // 50, group_most=8)
    assert found.about["passes"] > 1
    assert found.about["gained_by"] >= 25
