from dataclasses import replace

import numpy as np
import pytest

from pipeline.select.methods.maxherding import MaxHerding
from pipeline.select.methods.uherding import UHerding
from pipeline.select.pool import Outputs
from pipeline.select.uncertainty import of_all, unsure
from tests.oracles import warm as oracle
from tests.pools import cloud, pool
from tests.select.test_uncertainty import lists, outputs

PARAMS = {"sigma": 0.7, "sample": 1000}


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_picks_are_those_of_the_objective_in_loops(sigma):
    for seed in range(4):
        made = outputs(50, seed=seed)
        given = replace(pool(cloud(50), labelled=(3, 11), barred=(8, 9)), outputs=made)
        free = [row for row in range(50) if row not in (3, 11, 8, 9)]
        unit = made.features.astype(np.float64)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        weight = oracle.unsure(oracle.probabilities(*lists(made)))
        rows, gains = oracle.herd(unit.tolist(), weight, sigma, [3, 11], free, 12)
        picks = UHerding(sigma=sigma, sample=1000).select(given, 12, 0)
        assert picks.rows.tolist() == rows
        assert picks.scores.tolist() == pytest.approx(gains, rel=1e-4, abs=1e-7)
        again = replace(
            given, labelled=np.concatenate([given.labelled, picks.rows[:3]])
        )  # they count as covered, as if they were picked
        assert UHerding(sigma=sigma, sample=1000).select(again, 9, 0).rows.tolist() == rows[3:]


def test_with_all_weights_equal_it_is_maxherding():
    x = cloud(400, 8)
    flat = Outputs(x, np.zeros((4, 8), np.float32), np.zeros(4, np.float32))  # 1 - margin is 1 everywhere
    for given in (pool(x), pool(x, labelled=(3, 9), barred=(20, 21))):
        expected = MaxHerding(**PARAMS).select(given, 40, 0)
        found = UHerding(**PARAMS).select(replace(given, outputs=flat), 40, 0)
        assert found.rows.tolist() == expected.rows.tolist()
        assert found.scores.tolist() == expected.scores.tolist()


def test_images_that_the_model_is_sure_of_need_no_cover():
    """Two clouds of features; the model is in doubt about the smaller one."""
    x = np.concatenate([cloud(90, 3) * 0.1 + [3, 0, 0], cloud(30, 3) * 0.1 + [0, 3, 0]]).astype(np.float32)
    made = Outputs(x, np.array([[50, 0, 0], [-50, 0, 0]], np.float32), np.zeros(2, np.float32))
    made.features[90:, 0] = 0
    given = replace(pool(x), outputs=made)
    assert UHerding(**PARAMS).select(given, 8, 0).rows.min() >= 90
    assert MaxHerding(**PARAMS).select(given, 8, 0).rows.min() < 90


def test_every_param_matters():
    given = replace(pool(cloud(300)), outputs=outputs(300))
    plain = UHerding(**PARAMS).select(given, 20, 0).rows.tolist()
    for change in ({"sigma": 0.2}, {"sample": 40}):
        assert UHerding(**{**PARAMS, **change}).select(given, 20, 0).rows.tolist() != plain
    sampled = [UHerding(sigma=0.7, sample=40).select(given, 20, seed).rows.tolist() for seed in (0, 1)]
    assert sampled[0] != sampled[1]


def test_the_picks_of_a_sample_cover_almost_as_well():
    x = cloud(1500)
    made = Outputs(x, np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32), np.zeros(4, np.float32))
    given = replace(pool(x), outputs=made)

    def covered(sample):
        rows = UHerding(sigma=0.7, sample=sample).select(given, 30, 0).rows
        sq_dist = ((x[:, None].astype(np.float64) - x[rows]) ** 2).sum(axis=2)
        return (of_all(made, unsure) * np.exp(-sq_dist / 0.7**2).max(axis=1)).mean()

    exact = covered(1500)
    assert 0.97 * exact < covered(750) < exact  # 25 images a pick, as 10,000 for 400
    assert 0.93 * exact < covered(300) < exact
