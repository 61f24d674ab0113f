from dataclasses import replace

import numpy as np
import pytest

from pipeline.base import rng
from pipeline.select.methods.badge import Badge
from pipeline.select.pool import Outputs
from tests.oracles import warm as oracle
from tests.pools import SEARCH, cloud, lists, outputs, pool


def draws(seed):
    stream = rng.stream(seed, "select", "badge")
    while True:
        yield stream.random()


@pytest.mark.parametrize("length", [1.0, 1e12, 1e-12])
def test_picks_are_those_of_kmeans_plus_plus_on_the_gradients_in_loops(length):
    for seed in range(5):
        made = outputs(50, seed=seed)
        made = Outputs(made.features * np.float32(length), made.weight / np.float32(length), made.bias)
        given = replace(pool(cloud(50), labelled=(3,), barred=(8, 9)), outputs=made)
        free = [row for row in range(50) if row not in (3, 8, 9)]
        gradients = oracle.gradients(oracle.probabilities(*lists(made)), made.features.tolist())
        rows, spread = oracle.plus_plus(gradients, free, 15, draws(seed))
        picks = Badge().select(given, 15, seed)
        assert picks.rows.tolist() == rows
        assert picks.scores.tolist() == pytest.approx(spread, rel=1e-3)


def test_if_all_predictions_are_alike_it_is_kmeans_plus_plus_on_the_features():
    made = replace(outputs(50), weight=np.zeros((4, 5), np.float32), bias=np.array([1, 0, 0, 0], np.float32))
    rows, _ = oracle.plus_plus(made.features.tolist(), range(50), 15, draws(2))
    assert Badge().select(replace(pool(cloud(50)), outputs=made), 15, 2).rows.tolist() == rows


def test_images_without_a_gradient_come_last():
    made = outputs(30, scale=0.5)
    made.features[10:] = 0
    picks = Badge().select(replace(pool(cloud(30)), outputs=made), 20, 0)
    assert (picks.rows[:11] < 10).sum() == 10  # ten gradients that are not 0, and one image for all those that are
    assert (picks.scores[:10] > 0).all()
    assert (picks.scores[11:] == 0).all()


def test_a_sample_that_memory_holds_covers_almost_as_well():
    little = SEARCH.model_copy(update={"memory_mb": 1})  # less than params.yaml may say
    left = {}
    for search, candidates in ((little, 2**20 // 4 // (4 * 64)), (SEARCH, 1500)):
        given = replace(pool(cloud(1500), search=search), outputs=outputs(1500, 60, 4, 0.3))
        picks = [Badge().select(given, 40, seed) for seed in range(5)]
        assert [one.about for one in picks] == [{"candidates": candidates}] * 5
        left[candidates] = np.mean([one.scores[-1] for one in picks])
    assert left[1024] == pytest.approx(left[1500], rel=0.05)
