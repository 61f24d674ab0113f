"""Accuracy, interval, F1 and calibration against loops, scikit-learn and scipy."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix as slow_confusion
from sklearn.metrics import f1_score, recall_score

from pipeline.evaluate.accuracy import calibration, confusion, exact, macro_f1, recall, top1, wilson


@pytest.fixture
def pairs():
    """Answers of classes 0 to 4 of 7, predictions of 1 to 6: a class never predicted, and one without images."""
    g = np.random.default_rng(1)
    answers, other = g.integers(0, 5, 300), g.integers(1, 7, 300)
    return answers, np.where(g.random(300) < 0.6, np.maximum(answers, 1), other)


def test_top1_is_the_share_of_equal_pairs(pairs):
    assert top1(*pairs) == sum(a == b for a, b in zip(*pairs, strict=True)) / 300


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (1, 3), (832, 1000), (9999, 10000)])
def test_wilson_is_scipys_interval(right, n):
    peer = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right / n, n) == pytest.approx((peer.low, peer.high), abs=1e-12)
    method = binomtest(right, n).proportion_ci(method="exact")
    assert exact(right, n) == pytest.approx((method.low, method.high))


def test_confusion_and_recall_are_scikit_learns(pairs):
    answers, predictions = pairs
    counts = confusion(answers, predictions, 7)
    assert np.array_equal(counts, slow_confusion(answers, predictions, labels=range(7)))
    assert recall(counts)[:5] == pytest.approx(recall_score(answers, predictions, labels=range(5), average=None))
    assert np.isnan(recall(counts)[5:]).all()


def test_macro_f1_is_scikit_learns_over_the_classes_in_the_answers(pairs):
    answers, predictions = pairs
    assert {0} == {*answers} - {*predictions}
    assert {5, 6} == {*predictions} - {*answers}
    peer = f1_score(answers, predictions, labels=np.unique(answers), average="macro", zero_division=0)
    assert macro_f1(confusion(answers, predictions, 7)) == pytest.approx(peer, abs=1e-12)


def test_ece_is_guos_sum_in_loops():
    g = np.random.default_rng(2)
    confidence = np.concatenate([g.random(500), [1.0, 1 / 15, 0.0]])
    right = g.random(503) < confidence**2
    total = 0.0
    for m in range(1, 16):
        lo, hi = (m - 1) / 15, m / 15
        inside = [i for i in range(503) if lo < confidence[i] <= hi or (m == 1 and confidence[i] == 0)]
        if inside:
            acc = sum(bool(right[i]) for i in inside) / len(inside)
            conf = sum(confidence[i] for i in inside) / len(inside)
            total += len(inside) / 503 * abs(acc - conf)
    assert calibration(confidence, right).ece == pytest.approx(total, abs=1e-12)


def test_a_bin_holds_its_upper_edge_and_not_its_lower_one():
    found = calibration(np.array([0.0, 0.25, 0.26, 0.5, 0.75, 1.0]), np.ones(6, dtype=bool), bins=4)
    assert found.count.tolist() == [2, 2, 1, 1]
    assert found.confidence.tolist() == [0.125, 0.38, 0.75, 1.0]
