from dataclasses import replace

import numpy as np
import pytest

from pipeline.select.methods.maxherding import MaxHerding
from pipeline.select.methods.uherding import UHerding
from pipeline.select.pool import Outputs
from tests.oracles import warm as oracle
from tests.oracles.herding import max_herding
from tests.pools import cloud, lists, outputs, pool

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
        rows, gains = max_herding(unit.tolist(), [3, 11], free, sigma, 12, weight)
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
