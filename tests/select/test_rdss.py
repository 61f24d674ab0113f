import numpy as np
import pytest

from pipeline.select import geometry
from pipeline.select.geometry import sq_dists
from pipeline.select.kernel import Sphere
from pipeline.select.methods.rdss import Rdss, median_sq_dist
from tests.oracles import herding as oracle
from tests.pools import cloud
from tests.pools import pool as pooled


def picked(pool, budget, bandwidth=1.0, sample=100_000, seed=0):
    return Rdss(bandwidth=bandwidth, sample=sample).select(pool, budget, seed)


@pytest.mark.parametrize(("labelled", "barred"), [((), ()), ((3, 17, 30), (0, 5, 9, 21))])
@pytest.mark.parametrize("bandwidth", [0.4, 1.0])
@pytest.mark.parametrize("budget", [1, 8])
def test_picks_are_those_of_the_paper_in_loops(monkeypatch, labelled, barred, bandwidth, budget):
    monkeypatch.setattr(geometry, "QUERIES", 7)
    monkeypatch.setattr(geometry, "POINTS", 9)
    x = cloud(40)
    free = [i for i in range(40) if i not in labelled + barred]
    rows, criterion = oracle.rdss(x.tolist(), labelled, free, bandwidth, budget)
    picks = picked(pooled(x, labelled, barred), budget, bandwidth)
    assert picks.rows.tolist() == rows
    assert picks.scores == pytest.approx(np.minimum.accumulate(criterion), abs=1e-5)


def test_the_first_pick_is_that_of_the_largest_mean_kernel():
    x = cloud(60)
    sq_dist = sq_dists(x, x).astype(np.float64)
    scale = np.median(sq_dist[~np.eye(60, dtype=bool)])
    densest = int(np.exp(-sq_dist / scale).mean(axis=1).argmax())
    one, many = picked(pooled(x), 1), picked(pooled(x), 16)
    assert one.rows[0] == many.rows[0] == densest
    assert (one.about["alpha"], many.about["alpha"]) == (1.0, 0.75)
    assert one.about["sigma"] == pytest.approx(scale**0.5, rel=1e-4)


def test_a_sample_of_500_images_costs_little_of_the_discrepancy():
    """Squared α-MMD of 20 picks over ten seeds: exact 0.0236, samples 0.0235 to 0.0250, random picks 0.033 to 0.055."""
    x = cloud(3000, 8)
    kernel = np.exp(-sq_dists(x, x) / median_sq_dist(Sphere.of(x), np.arange(1000)))
    alpha = 1 - 20**-0.5

    def discrepancy(rows):
        return kernel[np.ix_(rows, rows)].mean() - 2 * alpha * kernel[rows].mean() + alpha**2 * kernel.mean()

    exact = discrepancy(picked(pooled(x), 20).rows)
    for seed in range(3):
        assert 0.95 * exact < discrepancy(picked(pooled(x), 20, sample=500, seed=seed).rows) < 1.1 * exact
    assert discrepancy(np.arange(20)) > 1.3 * exact


def test_copies_wait_until_all_different_images_are_picked():
    x = np.repeat(cloud(20), 5, axis=0)
    picks = picked(pooled(x, labelled=(7,)), 30)
    assert sorted(set((picks.rows[:19] // 5).tolist())) == [i for i in range(20) if i != 1]
    assert (picks.scores[19:] == picks.scores[18]).all()
    assert picked(pooled(x), 19).about["sigma"] > 0.5  # copies do not pull the median down


def test_half_the_images_equal_leave_a_bandwidth():
    assert median_sq_dist(Sphere.of(np.ones((9, 2), np.float32)), np.arange(9)) == 1
    x = np.concatenate([np.ones((20, 4), np.float32), cloud(5, 4)])
    assert sorted(picked(pooled(x), 6).rows.tolist())[1:] == [20, 21, 22, 23, 24]


@pytest.mark.parametrize("length", [1e-18, 1e15])
def test_length_does_not_count(length):
    x = cloud(50)
    lengths = np.random.default_rng(0).uniform(0.5, 2, (50, 1)) * length
    assert picked(pooled((x * lengths).astype(np.float32)), 9).rows.tolist() == picked(pooled(x), 9).rows.tolist()


def test_each_parameter_and_the_seed_of_the_sample_change_something():
    pool = pooled(cloud(300))
    base = picked(pool, 10).rows.tolist()
    assert picked(pool, 10, bandwidth=0.2).rows.tolist() != base
    assert picked(pool, 10, seed=1).rows.tolist() == base  # exact: there is no chance in it
    sampled = [picked(pool, 10, sample=30, seed=seed) for seed in (0, 1)]
    assert sampled[0].rows.tolist() != sampled[1].rows.tolist()
    assert base not in [picks.rows.tolist() for picks in sampled]
    assert sampled[0].about["sample"] == 30
