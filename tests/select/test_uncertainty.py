"""Margin and entropy, and what the warm-start selectors share: the outputs of a model and how uncertain it is."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.base.errors import ParamsError
from pipeline.select import uncertainty
from pipeline.select.methods import SELECTORS
from pipeline.select.methods.entropy import Entropy
from pipeline.select.methods.margin import Margin
from pipeline.select.pool import Outputs, Pool
from pipeline.select.uncertainty import entropy, margin_uncertainty, of_all_images, probabilities
from tests.oracles import warm as oracle
from tests.pools import SEARCH, cloud, lists, outputs, pool, selector
from tests.refusals import refusal_of

METHODS = [name for name, made in SELECTORS.items() if made.needs_outputs]
BOTH = pytest.mark.parametrize(
    ("uncertain", "value"), [(Margin(), oracle.unsure), (Entropy(), oracle.entropy)], ids=["margin", "entropy"]
)


@BOTH
def test_picks_are_those_of_the_formula_in_loops(monkeypatch, uncertain, value):
    monkeypatch.setattr(uncertainty, "CACHED_NUMBERS", 50)  # blocks of ten images
    free = [row for row in range(60) if row not in (3, 9, 20, 21)]
    for seed in range(5):
        made = outputs(63, seed=seed)
        given = replace(pool(cloud(63), labelled=(3, 9), barred=(20, 21, 60, 61, 62)), outputs=made)
        expected = value(oracle.probabilities(*lists(made)))
        picks = uncertain.select(given, 12, 0)
        assert picks.rows.tolist() == oracle.best(expected, free, 12)
        assert picks.scores.tolist() == pytest.approx([expected[row] for row in picks.rows], abs=1e-9)
        all_picks = uncertain.select(given, len(free), 1)
        assert all_picks.rows.tolist() == oracle.best(expected, free, 99)


@pytest.mark.parametrize("uncertain", [Margin(), Entropy()])
def test_copies_are_picked_together_the_lowest_row_first(uncertain):
    made = outputs(3000, 64, 10)
    made.features[[5, 700, 1500, 2999]] = made.features[17]
    made.features[[5, 17, 700, 1500, 2999]] *= np.float32(1e-3)  # the least sure of all
    given = replace(pool(cloud(3000)), outputs=made)
    assert uncertain.select(given, 5, 0).rows.tolist() == [5, 17, 700, 1500, 2999]


def test_probabilities_of_large_logits_are_numbers():
    made = Outputs(
        np.array([[1e30], [-1e30], [0]], np.float32), np.array([[1e8], [-1e8]], np.float32), np.zeros(2, "f4")
    )
    p = probabilities(made, made.features)
    assert p.tolist() == [[1, 0], [0, 1], [0.5, 0.5]]
    assert margin_uncertainty(p).tolist() == [0, 0, 1]
    assert of_all_images(made, entropy).tolist() == pytest.approx([0, 0, np.log(2)])
    assert not np.signbit(of_all_images(made, entropy)).any()


def test_a_model_of_one_class_is_sure():
    made = outputs(c=1)
    assert of_all_images(made, margin_uncertainty).tolist() == [0] * 60
    assert of_all_images(made, entropy).tolist() == [0] * 60


@pytest.mark.parametrize("name", METHODS)
def test_without_outputs_a_line_says_how_to_have_them(name):
    assert refusal_of(selector(name).select, Pool.of(cloud(9), SEARCH), 3, 0, kind=ParamsError) == (
        f"select.method: {name} needs the outputs of a trained model: expected data/rounds/outputs, found none; "
        "`python -m stages.keep_round` writes them"
    )


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("length", [0.0, 1e-30, 3e38])
def test_features_of_any_length_give_finite_scores(name, length):
    made = outputs(40)
    features = made.features / np.abs(made.features).max() * np.float32(length)
    given = replace(pool(cloud(40)), outputs=replace(made, features=features))
    for budget in (1, 13, 40):
        picks = selector(name).select(given, budget, 0)
        assert sorted(set(picks.rows.tolist())) == sorted(picks.rows.tolist())
        assert len(picks.rows) == budget


@pytest.mark.parametrize("name", METHODS)
def test_a_model_that_is_sure_of_all_images_still_gives_as_many_picks(name):
    made = outputs(40, scale=1e4)
    given = replace(pool(cloud(40), labelled=(1, 2), barred=(5,)), outputs=made)
    picks = selector(name).select(given, 37, 0)
    assert sorted(picks.rows.tolist()) == [row for row in range(40) if row not in (1, 2, 5)]
