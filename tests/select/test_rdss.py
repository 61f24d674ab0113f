import numpy as np
import pytest

from pipeline.select.methods.rdss import Rdss, median_sq_dist
from pipeline.select.sphere import Sphere
from pipeline.vectors.geometry import sq_dists
from tests.oracles import herding as oracle
from tests.pools import cloud
from tests.pools import pool as pooled


def picked(pool, budget, bandwidth=1.0, sample=100_000, seed=0):
    return Rdss(bandwidth=bandwidth, sample=sample).select(pool, budget, seed)


@pytest.mark.parametrize(("labelled", "barred"), [((), ()), ((3, 17, 30), (0, 5, 9, 21))])
@pytest.mark.parametrize("bandwidth", [0.4, 1.0])
@pytest.mark.parametrize("budget", [1, 8])
def test_picks_are_those_of_the_paper_in_loops(labelled, barred, bandwidth, budget):
    x = cloud(40)
    free = [i for i in range(40) if i not in labelled + barred]
    rows, criterion = oracle.rdss(x.tolist(), labelled, free, bandwidth, budget)
    picks = picked(pooled(x, labelled, barred), budget, bandwidth)
    assert picks.rows.tolist() == rows
    assert picks.scores == pytest.approx(np.minimum.accumulate(criterion), abs=1e-5)


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


def test_copies_score_no_more_than_what_was_picked_before_them():
    x = np.repeat(cloud(20), 5, axis=0)
    scores = picked(pooled(x, labelled=(7,)), 30).scores
    assert (scores[19:] == scores[18]).all()
    assert picked(pooled(x), 19).about["sigma"] > 0.5  # copies do not pull the median down


def test_half_the_images_equal_leave_a_bandwidth():
    assert median_sq_dist(Sphere.of(np.ones((9, 2), np.float32)), np.arange(9)) == 1
    x = np.concatenate([np.ones((20, 4), np.float32), cloud(5, 4)])
    assert sorted(picked(pooled(x), 6).rows.tolist())[1:] == [20, 21, 22, 23, 24]
