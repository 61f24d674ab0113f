"""The probes against a slow vote, against what one class must give, and against their own definition."""

import logging

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pipeline.base import rng
from pipeline.evaluate import probes
from pipeline.evaluate.accuracy import balance, covered
from pipeline.graph import probe


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def points():
    """Four overlapping classes on the sphere: 400 with classes, 90 to be predicted."""
    g = np.random.default_rng(3)
    centre, y = g.normal(size=(4, 6)), g.integers(0, 4, 490)
    x = unit(centre[y] + 1.2 * g.normal(size=(490, 6)))
    return x[:400], y[:400], x[400:], y[400:]


def slow_vote(x, y, query, neighbours):
    near = sorted(range(len(x)), key=lambda i: -float(x[i] @ query))[:neighbours]
    votes = {}
    for i in near:
        count, similar = votes.get(y[i], (0, 0.0))
        votes[y[i]] = count + 1, similar + float(x[i] @ query)
    return max(votes, key=votes.get)


@pytest.mark.parametrize("neighbours", [1, 5, 20])
def test_nearest_vote_is_a_slow_loop(points, neighbours, monkeypatch):
    x, y, queries, _ = points
    slow = [slow_vote(x, y, query, neighbours) for query in queries]
    assert probes.nearest_vote(x, y, queries, neighbours).tolist() == slow
    monkeypatch.setattr(probes, "BLOCK", 7 * len(x))  # thirteen blocks of queries give the same
    assert probes.nearest_vote(x, y, queries, neighbours).tolist() == slow


def test_fewer_images_than_neighbours_all_vote(points):
    _, _, queries, _ = points
    x, y = np.eye(6, dtype=np.float32)[:3], np.array([2, 5, 5])
    assert (probes.nearest_vote(x, y, queries, 20) == 5).all()


def test_the_linear_probe_is_a_logistic_regression(points):
    x, y, queries, _ = points
    peer = LogisticRegression(C=10, max_iter=1000).fit(x[:40], y[:40])
    assert np.array_equal(probes.linear_probe(x[:40], y[:40], queries), peer.predict(queries))


def test_labels_of_one_class_give_that_class(points):
    x, _, queries, _ = points
    assert probes.linear_probe(x[:5], np.full(5, 3), queries).tolist() == [3] * 90


def test_a_probe_that_did_not_converge_says_so_and_warns_nobody(points, monkeypatch, caplog):
    x, y, queries, _ = points
    monkeypatch.setattr(probe, "MAX_ITER", 1)
    with caplog.at_level(logging.INFO):
        probes.linear_probe(x[:40], y[:40], queries)
    assert caplog.messages == ["linear probe on 40 labels: not converged after 1 steps"]


def test_every_draw_is_kept_and_is_its_own_stream(points):
    x, y, queries, answers = points
    draws = probes.random_draws(x, y, queries, answers, size=8, draws=6, seed=11)
    assert len(draws) == 6
    for i, draw in enumerate(draws):
        rows = rng.stream(11, "evaluate", "draw", i).choice(400, 8, replace=False)
        predicted = LogisticRegression(C=10, max_iter=1000).fit(x[rows], y[rows]).predict(queries)
        assert draw.top1 == np.mean(predicted == answers)
        assert draw.classes_covered == len(set(y[rows]))
    assert draws == probes.random_draws(x, y, queries, answers, size=8, draws=6, seed=11)
    assert draws != probes.random_draws(x, y, queries, answers, size=8, draws=6, seed=12)


def test_coverage_and_balance():
    assert covered(np.array([3, 3, 7])) == 2
    assert balance(np.array([1, 1, 4, 4, 9, 9])) == pytest.approx(1)
    assert balance(np.array([5, 5, 5])) == 1
    assert balance(np.array([0, 0, 0, 1])) == pytest.approx(-(0.75 * np.log2(0.75) + 0.25 * np.log2(0.25)))
