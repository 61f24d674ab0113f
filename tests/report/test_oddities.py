"""Suspected label errors, near-duplicates and outliers; and which images have their picture on a page."""

import numpy as np
import pytest

from pipeline.artifacts.left_out import SaidWithout
from pipeline.graph.run import nearest_others
from pipeline.report.images import Images
from pipeline.report.oddities import MOST, Oddities
from pipeline.report.thumbnails import choose
from tests.clouds import SEARCH

N = 120
NAMES = [f"k{i:03}" for i in range(N)]


def images(label=None, answer=None, prediction=None, confidence=None):
    """So many images of a training split; the first three are labelled."""
    return Images(
        keys=NAMES,
        paths=NAMES,
        tested=np.zeros(N, bool),
        label=label or ["cat", "dog", "cat", *[""] * (N - 3)],
        answer=answer or [""] * N,
        prediction=prediction or ["cat"] * N,
        confidence=np.linspace(0, 1, N) if confidence is None else confidence,
        before=[""] * N,
        rank=np.zeros(N, np.int64),
        classes=["cat", "dog"],
    )


@pytest.fixture
def neighbours():
    """Images 5 and 9 are copies, 7 and 8 nearly so, and 11 lies far from all."""
    x = np.random.default_rng(0).normal(0, 1, (N, 8)).astype(np.float32)
    x[9], x[8], x[11] = x[5], x[7] + 0.01, 30
    return nearest_others(x, 5, SEARCH)[0]


NOTHING = SaidWithout([], [], [], np.empty(0))


def test_pairs_and_outliers_are_those_of_the_vectors(neighbours):
    odd = Oddities.find(images(), NOTHING, neighbours)
    assert odd.copies.tolist() == [[5, 9], [7, 8]]
    assert odd.copy_gap == pytest.approx([0, 0.01 * 8**0.5], abs=2e-3)  # the search rounds
    assert odd.outliers.tolist() == [11]
    assert odd.outlier_gap[0] == pytest.approx(np.sqrt(neighbours.sq_dist[11]).mean())
    assert odd.rows().tolist() == [5, 9, 7, 8, 11]


def test_copies_of_one_image_are_a_list_of_bounded_length():
    x = np.ones((N, 4), np.float32)
    odd = Oddities.find(images(), NOTHING, nearest_others(x, 5, SEARCH)[0])
    assert len(odd.copies) == MOST
    assert np.isfinite(odd.outlier_gap).all()


def test_suspects_are_labels_that_the_others_contradict_the_surest_first(neighbours):
    said = SaidWithout(["k000", "k001", "k002"], ["cat", "dog", "cat"], ["dog", "cat", "cat"], np.array([0.6, 0.9, 1]))
    assert Oddities.find(images(), said, neighbours).suspects.tolist() == [1, 0]
    less = SaidWithout(["k000"], ["cat"], ["dog"], np.array([0.49]))
    assert Oddities.find(images(), less, neighbours).suspects.tolist() == []


def test_pictures_are_of_labelled_odd_and_wrong_images_first_then_even_over_classes():
    prediction = ["cat"] * 90 + ["dog"] * 30
    answer = ["" if i != 50 else "dog" for i in range(N)]
    one = images(answer=answer, prediction=prediction)
    rows = choose(one, [7, 1], 24)
    assert rows[:5] == [0, 1, 2, 7, 50]
    assert len(set(rows)) == len(rows) == 24
    rest = rows[5:]
    assert sum(i < 90 for i in rest) == 9
    assert {3, 89, 90, 119} <= set(rest)  # the least and the most sure of each class
    assert choose(one, [], 0) == []
    assert sorted(choose(one, [], 1000)) == list(range(N))
