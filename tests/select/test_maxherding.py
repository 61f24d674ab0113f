from itertools import combinations

import numpy as np
import pytest

from pipeline.select import geometry
from pipeline.select.kernel import unit
from pipeline.select.methods.maxherding import Herding, MaxHerding, herd
from tests.oracles import herding as oracle
from tests.pools import cloud
from tests.pools import pool as pooled

ALL = 100_000
NONE = np.empty(0, np.int64)


def picked(pool, budget, sigma=1.0, sample=ALL, seed=0):
    return MaxHerding(sigma=sigma, sample=sample).select(pool, budget, seed)


@pytest.mark.parametrize(("labelled", "barred"), [((), ()), ((3, 17, 30), (0, 5, 9, 21))])
@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_picks_are_those_of_the_paper_in_loops(monkeypatch, labelled, barred, sigma):
    monkeypatch.setattr(geometry, "QUERIES", 7)
    monkeypatch.setattr(geometry, "POINTS", 9)
    x = cloud(40)
    free = [i for i in range(40) if i not in labelled + barred]
    rows, gains = oracle.max_herding(x.tolist(), labelled, free, sigma, 8)
    picks = picked(pooled(x, labelled, barred), 8, sigma)
    assert picks.rows.tolist() == rows
    assert picks.scores == pytest.approx(np.array(gains), rel=1e-3)


def test_weights_are_those_of_the_loop():
    x, weight = cloud(30), np.random.default_rng(1).random(30)
    rows, gains = oracle.max_herding(x.tolist(), [], range(30), 1.0, 5, weight.tolist())
    picks = herd(pooled(x), x, weight, Herding(sigma=1.0, sample=ALL), 5, np.random.default_rng(0))
    assert picks.rows.tolist() == rows
    assert picks.scores == pytest.approx(np.array(gains), rel=1e-3)


def test_greedy_reaches_its_share_of_the_best_set():
    for seed in range(3):
        x = cloud(12, 2, seed)
        best = max(oracle.coverage(x.tolist(), chosen, 0.3) for chosen in combinations(range(12), 3))
        reached = oracle.coverage(x.tolist(), picked(pooled(x), 3, 0.3).rows, 0.3)
        assert (1 - 1 / np.e) * best <= reached <= best + 1e-9


def test_a_sample_of_500_images_loses_three_percent_of_the_coverage_at_most():
    """Measured over ten seeds: samples lose 1.5 to 2.2 % of the exact picks' coverage, 20 random picks 4.9 to 6.8 %."""
    x = cloud(3000, 8)

    def coverage(rows):
        return float(np.exp(-geometry.sq_dists(x, x[rows])).max(axis=1).mean(dtype=np.float64))

    exact = coverage(picked(pooled(x), 20).rows)
    for seed in range(3):
        assert 0.97 * exact < coverage(picked(pooled(x), 20, sample=500, seed=seed).rows) < exact
    assert coverage(np.arange(20)) < 0.955 * exact


def test_gains_of_the_sample_add_up_to_its_coverage():
    x = cloud(300)
    picks = picked(pooled(x), 7, 0.5)
    assert picks.scores.sum() == pytest.approx(np.exp(-geometry.sq_dists(x, x[picks.rows]) / 0.25).max(axis=1).mean())
    assert picks.about == {"sample": 300}
    assert picked(pooled(x), 7, sample=50).about == {"sample": 50}


def test_barred_images_are_represented_and_not_picked():
    x = np.concatenate([cloud(60, 4) * [1, 1, 0, 0], cloud(20, 4) * [0, 0, 1, 1]]).astype(np.float32)
    crowd, rest = set(range(60)), set(range(60, 80))
    assert set(picked(pooled(x), 1).rows.tolist()) <= crowd
    assert picked(pooled(x, barred=range(1, 60)), 1).rows.tolist() == [0]  # all that may stand for the crowd
    assert set(picked(pooled(x, labelled=range(20)), 1).rows.tolist()) <= rest  # the crowd is covered


def test_copies_wait_until_all_different_images_are_picked():
    x = np.repeat(cloud(20), 5, axis=0)
    x += 1e-5 * np.random.default_rng(0).normal(size=x.shape).astype(np.float32)  # below what counts as different
    picks = picked(pooled(x, labelled=(7,)), 30)
    assert sorted(set((picks.rows[:19] // 5).tolist())) == [i for i in range(20) if i != 1]
    assert (picks.scores[:19] > 0).all()
    assert (picks.scores[19:] == 0).all()


@pytest.mark.parametrize("length", [1e-18, 1e15])
def test_length_does_not_count(length):
    x = cloud(50)
    lengths = np.random.default_rng(0).uniform(0.5, 2, (50, 1)) * length
    assert picked(pooled((x * lengths).astype(np.float32)), 9).rows.tolist() == picked(pooled(x), 9).rows.tolist()


def test_unit_rows_of_any_length():
    for length in (1e-30, 1e-18, 1e15, 1e30):
        assert unit(cloud(9) * np.float32(length)) == pytest.approx(cloud(9), abs=1e-6)
    assert (unit(np.zeros((2, 3), np.float32)) == 0).all()


def test_each_parameter_and_the_seed_of_the_sample_change_something():
    pool = pooled(cloud(300))
    base = picked(pool, 10).rows.tolist()
    assert picked(pool, 10, sigma=0.2).rows.tolist() != base
    assert picked(pool, 10, seed=1).rows.tolist() == base  # exact: there is no chance in it
    sampled = [picked(pool, 10, sample=30, seed=seed).rows.tolist() for seed in (0, 1)]
    assert sampled[0] != sampled[1]
    assert base not in sampled
