from dataclasses import replace

import numpy as np
import pytest

from pipeline.base import rng
from pipeline.select import uncertainty
from pipeline.select.methods.dropquery import DropQuery, changes, most_uncertain
from pipeline.select.methods.margin import Margin
from pipeline.select.pool import Outputs
from tests.oracles import warm as oracle
from tests.pools import cloud, lists, outputs, pool

PARAMS = {"iterations": 10, "restarts": 2, "spherical": True, "masks": 3, "rate": 0.75}


@pytest.mark.parametrize("rate", [0.25, 0.75])
def test_changes_are_those_of_loops(monkeypatch, rate):
    made = outputs(40, scale=2)
    drawn = [rng.stream(1, "select", "dropquery", "mask", i).random((40, 5), np.float32) for i in range(4)]
    masks = [[(one[row] >= rate) / (1 - rate) for one in drawn] for row in range(40)]
    expected = oracle.changes(*lists(made), masks)
    for block in (50, 1000):  # a mask is an image's own, whatever the blocks are
        monkeypatch.setattr(uncertainty, "CACHED_NUMBERS", block)
        assert changes(made, 4, rate, 1).tolist() == expected
    assert len(set(expected)) > 2


def test_picks_are_the_changeable_images_nearest_to_the_means_of_separate_clouds():
    """Three clouds that the model is uncertain about and one that it is not; as many picks as clouds."""
    corners = np.eye(4, 64, dtype=np.float32)
    x = np.concatenate([corner + 0.02 * cloud(30, 64, seed) for seed, corner in enumerate(corners)]).astype(np.float32)
    weight = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32)
    bias = np.zeros(6, np.float32)
    made = Outputs(x, weight, bias)
    given = replace(pool(x, barred=(0, 1)), outputs=made)
    candidates = np.flatnonzero(given.free & (changes(made, 3, 0.75, 0) > 1))
    expected = []
    for cloud_of in range(3 + 1):
        own = candidates[candidates // 30 == cloud_of]
        unit = x[own] / np.linalg.norm(x[own], axis=1, keepdims=True)
        mean = unit.mean(axis=0) / np.linalg.norm(unit.mean(axis=0))
        expected.append(int(own[((unit - mean) ** 2).sum(axis=1).argmin()]))
    picks = DropQuery(**PARAMS).select(given, 4, 0)
    assert sorted(picks.rows.tolist()) == expected
    assert picks.about == {"candidates": len(candidates)}
    assert 0 < len(candidates) < given.free.sum()


def test_without_dropout_no_image_is_a_candidate_and_the_most_uncertain_are_picked():
    given = replace(pool(cloud(60), labelled=(4, 5), barred=(6,)), outputs=outputs())
    picks = DropQuery(**{**PARAMS, "rate": 1e-9}).select(given, 20, 0)
    assert picks.rows.tolist() == Margin().select(given, 20, 0).rows.tolist()
    assert picks.scores.tolist() == [0] * 20
    assert picks.about == {"candidates": 0}


def test_where_candidates_run_out_the_most_uncertain_follow():
    made = outputs(60, scale=20)
    given = replace(pool(cloud(60)), outputs=made)
    candidates = set(np.flatnonzero(changes(made, 3, 0.25, 0) > 1).tolist())
    assert 0 < len(candidates) < 30
    picks = DropQuery(**{**PARAMS, "rate": 0.25}).select(given, 50, 0)
    assert set(picks.rows[: len(candidates)].tolist()) == candidates
    rest = [row for row in Margin().select(given, 60, 0).rows.tolist() if row not in candidates]
    assert picks.rows[len(candidates) :].tolist() == rest[: 50 - len(candidates)]


def test_the_most_uncertain_leave_copies_of_picks_and_of_labelled_images_for_the_end():
    x = np.repeat(cloud(10), 3, axis=0)
    value = np.linspace(1, 0, 30)
    given = pool(x, labelled=(0,))
    found = most_uncertain(given, value, np.array([4]), 28).tolist()
    assert found[:8] == [6, 9, 12, 15, 18, 21, 24, 27]
    assert sorted([0, 4, *found]) == list(range(30))
    assert most_uncertain(given, value, np.array([4]), 0).tolist() == []


def test_an_image_whose_class_half_of_the_masks_change_is_no_candidate():
    given = replace(pool(cloud(60)), outputs=outputs())
    count = changes(outputs(), 2, 0.75, 0)
    assert 0 < (count == 2).sum() < (count >= 1).sum()
    assert DropQuery(**{**PARAMS, "masks": 2}).select(given, 5, 0).about == {"candidates": (count == 2).sum()}
