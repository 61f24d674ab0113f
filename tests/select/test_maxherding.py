import numpy as np
import pytest

from pipeline.select.herding import Herding, herd
from pipeline.select.methods.maxherding import MaxHerding
from pipeline.vectors import geometry
from tests.oracles import herding as oracle
from tests.pools import cloud
from tests.pools import pool as pooled

ALL = 100_000


def picked(pool, budget, sigma=1.0, sample=ALL, seed=0):
    return MaxHerding(sigma=sigma, sample=sample).select(pool, budget, seed)


@pytest.mark.parametrize(("labelled", "barred"), [((), ()), ((3, 17, 30), (0, 5, 9, 21))])
@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_picks_are_those_of_the_paper_in_loops(labelled, barred, sigma):
    x = cloud(40)
    free = [i for i in range(40) if i not in labelled + barred]
    rows, gains = oracle.max_herding(x.tolist(), labelled, free, sigma, 7)
    picks = picked(pooled(x, labelled, barred), 7, sigma)
    assert picks.rows.tolist() == rows
    assert picks.scores == pytest.approx(np.array(gains), rel=1e-3)


def test_weights_are_those_of_the_loop():
    x, weight = cloud(30), np.random.default_rng(1).random(30)
    rows, gains = oracle.max_herding(x.tolist(), [], range(30), 1.0, 5, weight.tolist())
    picks = herd(pooled(x), x, weight, Herding(sigma=1.0, sample=ALL), 5, np.random.default_rng(0))
    assert picks.rows.tolist() == rows
    assert picks.scores == pytest.approx(np.array(gains), rel=1e-3)


def test_a_sample_of_500_images_loses_three_percent_of_the_coverage_at_most():
    """Measured over ten seeds: samples lose 1.5 to 2.2 % of the exact picks' coverage, 20 random picks 4.9 to 6.8 %."""
    x = cloud(3000, 8)

    def coverage(rows):
        return float(np.exp(-geometry.sq_dists(x, x[rows])).max(axis=1).mean(dtype=np.float64))

    exact = coverage(picked(pooled(x), 20).rows)
    for seed in range(3):
        assert 0.97 * exact < coverage(picked(pooled(x), 20, sample=500, seed=seed).rows) < exact
    assert coverage(np.arange(20)) < 0.955 * exact
