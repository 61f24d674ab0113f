from dataclasses import replace

import numpy as np
import pytest

from pipeline.base import rng
from pipeline.select import uncertainty
from pipeline.select.methods.badge import Badge
from pipeline.select.pool import Outputs
from tests.oracles import warm as oracle
from tests.pools import SEARCH, cloud, pool
from tests.select.test_uncertainty import lists, outputs


def draws(seed):
    stream = rng.stream(seed, "select", "badge")
    while True:
        yield stream.random()


@pytest.mark.parametrize("length", [1.0, 1e12, 1e-12])
def test_picks_are_those_of_kmeans_plus_plus_on_the_gradients_in_loops(monkeypatch, length):
    monkeypatch.setattr(uncertainty, "BLOCK", 50)
    for seed in range(5):
        made = outputs(50, seed=seed)
        made = Outputs(made.features * np.float32(length), made.weight / np.float32(length), made.bias)
        given = replace(pool(cloud(50), labelled=(3,), barred=(8, 9)), outputs=made)
        free = [row for row in range(50) if row not in (3, 8, 9)]
        g = oracle.gradients(oracle.probabilities(*lists(made)), made.features.tolist())
        rows, spread = oracle.plus_plus(g, free, 15, draws(seed))
        picks = Badge().select(given, 15, seed)
        assert picks.rows.tolist() == rows
        assert picks.scores.tolist() == pytest.approx(spread, rel=1e-3)


def test_where_all_predictions_are_alike_it_is_kmeans_plus_plus_on_the_features():
    made = replace(outputs(50), weight=np.zeros((4, 5), np.float32), bias=np.array([1, 0, 0, 0], np.float32))
    rows, _ = oracle.plus_plus(made.features.tolist(), range(50), 15, draws(2))
    assert Badge().select(replace(pool(cloud(50)), outputs=made), 15, 2).rows.tolist() == rows


def test_sure_images_come_last_the_farthest_first():
    made = outputs(30, scale=0.5)
    made.features[10:] = 0  # no gradient at all
    x = cloud(30)
    picks = Badge().select(replace(pool(x), outputs=made), 20, 0)
    # Ten gradients that are not 0, and one image for all those that are.
    assert (picks.rows[:11] < 10).sum() == 10
    assert (picks.scores[11:] == 0).all()
    assert (picks.scores[:10] > 0).all()


def test_the_seed_is_heard_and_labelled_rows_are_not():
    given = replace(pool(cloud(60)), outputs=outputs())
    one, other = (Badge().select(given, 10, seed).rows.tolist() for seed in (0, 1))
    assert one[0] == other[0]
    assert one != other
    taken = replace(given, labelled=np.array([row for row in range(60) if row not in one][:3]))
    barred = replace(given, barred=~taken.free)
    assert Badge().select(taken, 10, 0).rows.tolist() == Badge().select(barred, 10, 0).rows.tolist()


def test_copies_of_a_gradient_are_not_picked_while_there_are_others():
    made = outputs(300, 64)
    twice = replace(made, features=np.repeat(made.features, 4, axis=0))
    given = replace(pool(np.repeat(cloud(300), 4, axis=0)), outputs=twice)
    picks = Badge().select(given, 400, 0)
    assert len(set((picks.rows[:300] // 4).tolist())) == 300


def test_a_sample_that_memory_holds_covers_almost_as_well():
    little = SEARCH.model_copy(update={"memory_mb": 1})  # less than params.yaml may say
    left = {}
    for search, candidates in ((little, 2**20 // 4 // (4 * 64)), (SEARCH, 1500)):
        given = replace(pool(cloud(1500), search=search), outputs=outputs(1500, 60, 4, 0.3))
        picks = [Badge().select(given, 40, seed) for seed in range(5)]
        assert [one.about for one in picks] == [{"candidates": candidates}] * 5
        left[candidates] = np.mean([one.scores[-1] for one in picks])
    assert left[1024] == pytest.approx(left[1500], rel=0.05)
