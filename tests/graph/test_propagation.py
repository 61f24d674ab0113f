"""Labels left out, what is chosen by them, and the whole of propagation, with bad input like good."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from pipeline.artifacts.neighbours import Neighbours
from pipeline.base.errors import ArtifactError
from pipeline.graph import estimate, left_out, prior, probe, spread
from pipeline.graph.estimate import Estimate
from pipeline.graph.left_out import leave_out
from pipeline.graph.propagation import PropagateParams, propagate
from tests.clouds import affinity, clouds, labelled

PARAMS = PropagateParams(alpha=0.9, prior="mixed", readout="auto")


def left(x, y, count, scale=(1.0, 2.0, 0.5)):
    rows, labels = labelled(y, count)
    return rows, labels, leave_out(x, affinity(x), rows.numpy(), labels.numpy(), np.array(scale), 0.9)


@pytest.mark.parametrize("count", [9, 40])
def test_a_label_left_out_is_as_if_it_had_never_been_given(count):
    x, y = clouds()
    rows, labels, said = left(x, y, count)

    def without(out, image):
        rest = np.arange(count) != out
        scores = spread.spread(affinity(x), rows[rest], labels[rest], 3, 0.9).dense(slice(None))[image]
        weight, bias = probe.fit(x[rows[rest]], labels[rest].numpy(), 3)
        again = scores * np.array([1.0, 2.0, 0.5])
        return again / again.sum(), softmax(x[image] @ weight.T + bias)

    for i in range(0, count, 3):
        by_spread, by_probe = without(i, rows[i])
        np.testing.assert_allclose(said.spread[i], by_spread, atol=1e-3)
        if count <= probe.FOLDS:
            np.testing.assert_allclose(said.probe[i], by_probe, atol=1e-3)
    for j in range(0, len(said.rows), 17):
        nearest = ((x[said.rows[j]] - x[rows]) ** 2).sum(1).argmin()
        assert said.near[j] == nearest
        by_spread, by_probe = without(nearest, said.rows[j])
        np.testing.assert_allclose(said.spread_near[j], by_spread, atol=1e-3)
        if count <= probe.FOLDS:
            np.testing.assert_allclose(said.probe_near[j], by_probe, atol=1e-3)


def test_of_many_labels_some_are_left_out_and_say_the_same(monkeypatch):
    x, y = clouds()
    whole = left(x, y, 40)[2]
    monkeypatch.setattr(left_out, "MOST", 15)
    some = left(x, y, 40)[2]
    assert len(some.labels) == len(some.probe) == 15
    assert len(some.rows) == 80
    assert not len(some.near)
    for p in some.spread:
        assert np.abs(whole.spread - p).max(axis=1).min() < 1e-4


def test_labels_alone_in_their_class_cannot_be_found():
    x, y = clouds()
    rows = np.array([0, 1, 2, 3])
    said = leave_out(x, affinity(x), rows, y[rows].astype(np.int64), np.ones(3), 0.9)
    assert said.found.tolist() == [True, False, False, True]


def test_of_labels_that_were_not_asked_for_nothing_is_estimated():
    x, y = clouds()
    rows, labels = np.arange(0, 120, 2), y[::2].astype(np.int64)
    asked = np.arange(60) % 3 > 0
    all_told = propagate(x, affinity(x), rows, labels, 3, PARAMS)
    told = propagate(x, affinity(x), rows, labels, 3, PARAMS, None, asked)
    assert all_told.left_out.place.tolist() == list(range(60))
    assert told.left_out.place.tolist() == np.flatnonzero(asked).tolist()
    assert len(told.of_left_out()[0]) == 40
    assert torch.equal(told.scores.share, all_told.scores.share)  # they are learnt from alike


def test_the_probe_is_a_logistic_regression_of_two_classes_too():
    x, y = clouds()
    for classes in (3, 2):
        kept = np.flatnonzero(y < classes)[:30]
        weight, bias = probe.fit(x[kept], y[kept], 4)
        peer = LogisticRegression(C=10, max_iter=1000).fit(x[kept], y[kept]).predict_proba(x)
        found = softmax(x @ weight.T + bias, axis=1)
        np.testing.assert_allclose(found[:, :classes], peer, atol=1e-5)
        assert not found[:, classes:].any()
    probe.fit(x[:30], np.arange(30), 30)  # a label for each class: no warning
    weight, bias = probe.fit(x[:1], np.array([2]), 4)
    assert (softmax(x @ weight.T + bias, axis=1).argmax(1) == 2).all()


def silent(mistakes_of_spread, mistakes_of_probe, count=20):
    """Labels left out, of which either side gets so many wrong."""
    labels = np.arange(count) % 2
    right, wrong = np.eye(2)[labels], np.eye(2)[1 - labels]

    def with_mistakes(number):
        return np.where(np.arange(count)[:, None] < number, wrong, right)

    none = np.empty((0, 2))
    return left_out.LeftOut(
        np.arange(count), labels, np.full(count, True), with_mistakes(mistakes_of_spread),
        with_mistakes(mistakes_of_probe), np.empty(0, np.int64), np.empty(0, np.int64), none, none,
    )  # fmt: skip


def test_the_labels_choose_the_share_and_without_any_it_is_the_usual_one():
    assert estimate.mixing_share(silent(0, 20)) > 0.8
    assert estimate.mixing_share(silent(20, 0)) < 0.3
    assert estimate.mixing_share(silent(0, 0, 0)) == pytest.approx(0.805, abs=0.01)


def test_the_estimate_follows_the_labels_left_out_and_doubts_a_few_more_than_many():
    p, agree = np.empty((0, 2)), np.empty(0, bool)
    good = estimate.accuracy(silent(1, 1), 0.5, p, agree)
    bad = estimate.accuracy(silent(10, 10), 0.5, p, agree)
    many = estimate.accuracy(silent(20, 20, 400), 0.5, p, agree)
    assert good.top1 == pytest.approx(0.95)
    assert bad.top1 == pytest.approx(0.5)
    for one in (good, bad, many):
        assert 0 <= one.low <= one.at_least <= one.top1 <= one.high <= 1
    assert many.high - many.low < good.high - good.low < 0.5


def test_more_labels_are_expected_to_help_less_and_less():
    now = Estimate(0.7, 0.6, 0.8, 0.62)
    later = [estimate.forecast(now, 40, more) for more in (0, 20, 100)]
    assert later[0].top1 == pytest.approx(0.7)
    assert later[1].top1 == pytest.approx(1 - 0.3 * (40 / 60) ** 0.2)
    assert 0.7 < later[1].top1 < later[2].top1 < 1
    assert all(one.low < one.at_least < one.top1 < one.high for one in later)
    none = estimate.forecast(Estimate(0.7, 0.7, 0.7, 0.7), 40, 40)  # sure of now: the slope's doubt is all there is
    assert (none.low, none.at_least) == pytest.approx((0.7, 0.7))
    assert none.high == pytest.approx(1 - 0.3 * 0.5**0.6)


def test_the_mean_confidence_is_what_is_wished_or_as_near_as_temperatures_go():
    p = softmax(np.random.default_rng(0).normal(0, 1, (200, 4)), axis=1)
    for wished in (0.4, 0.7, 0.9):
        found = estimate.tempered(p, estimate.matching_temperature(p, wished)).max(axis=1).mean()
        assert found == pytest.approx(wished, abs=2e-3)
    assert estimate.matching_temperature(p, 0.1) == estimate.TEMPERATURES[1]
    assert estimate.matching_temperature(p[:0], 0.5) == 1


@pytest.mark.parametrize("readout", ["auto", "neighbours", "linear"])
def test_propagation_names_nearly_all_images_of_clear_clouds(readout):
    x, y = clouds(300, noise=0.5)
    rows = np.arange(9)
    result = propagate(x, affinity(x), rows, y[rows], 3, PARAMS.model_copy(update={"readout": readout}))
    numbers, p = result.best(x)
    number, confidence = numbers[:, 0], p[:, 0]
    assert (number == y).mean() > 0.95
    assert p.sum(axis=1) == pytest.approx(1)
    assert (np.diff(p) <= 0).all()
    assert confidence.mean() == pytest.approx(result.estimate.top1, abs=0.05)
    assert result.estimate.low < (number == y).mean() <= result.estimate.high + 0.02


def test_a_class_in_an_island_leaves_the_others_their_labels_left_out():
    """Sinkhorn cannot give an island of copies its share: the others' scales fall below what float32 holds."""
    x, y = clouds(240, 2, noise=0.3)
    x[:8] = -x[:240].mean(axis=0) / np.linalg.norm(x.mean(axis=0))
    y = y.copy()
    y[:8] = 2
    rows = np.concatenate([[0, 1], np.arange(20, 36)])
    result = propagate(x, affinity(x), rows, y[rows], 3, PARAMS.model_copy(update={"prior": "uniform"}))
    assert 0 < result.scores.scale[:2].min() < 1e-38
    assert (result.left_out.spread.argmax(axis=1) == y[rows]).all()


@pytest.mark.parametrize("readout", ["auto", "neighbours"])
def test_labels_that_do_not_spread_reach_no_other_image(readout):
    x, y = clouds()
    still = PARAMS.model_copy(update={"alpha": 0.0, "readout": readout})
    result = propagate(x, affinity(x), np.arange(9), y[:9], 3, still)
    assert result.reached.tolist() == [True] * 9 + [False] * 111
    assert np.isfinite(result.best(x)[1]).all()


@pytest.mark.parametrize(
    ("rows", "labels"),
    [([4], [1]), ([0, 1], [2, 2]), (list(range(120)), None), ([0, 3], [0, 1])],
    ids=["one label", "one class", "a label on every image", "two labels for copies"],
)
def test_few_odd_and_all_labels_give_finite_results(rows, labels):
    x, y = clouds()
    x[3] = x[0]
    rows = np.array(rows)
    result = propagate(x, affinity(x), rows, y[rows] if labels is None else np.array(labels), 3, PARAMS)
    numbers, p = result.best(x)
    assert np.isfinite(p).all()
    assert set(numbers[:, 0]) <= set((y if labels is None else np.array(labels)).tolist())
    assert 0 <= result.estimate.low <= result.estimate.high <= 1


def test_class_shares_come_from_where_the_prior_says(tmp_path):
    labels, mass = np.array([0, 0, 2]), np.array([1.0, 2.0, 7.0])
    assert prior.class_shares("uniform", labels, mass, 3, None).tolist() == [0.5, 0, 0.5]
    assert prior.class_shares("clusters", labels, mass, 3, None).tolist() == [0.3, 0, 0.7]
    assert prior.class_shares("mixed", labels, mass, 3, None).tolist() == [0.4, 0, 0.6]
    file = tmp_path / "shares.csv"
    file.write_text("label,share\nb,30\na,10\nc,60\nlater,5\n")
    known = prior.read_shares(str(file), ["a", "b", "c"])
    assert known.tolist() == [10, 30, 60]
    assert prior.read_shares("mixed", ["a"]) is None
    assert prior.class_shares(str(file), labels, mass, 3, known) == pytest.approx([1 / 7, 0, 6 / 7])
    for text in ("a,1\nb,2\n", "a,1\nb,2\nc,-1\n", "a,1\na,2\nb,1\nc,1\n", "d,1\n", "a,x\n"):
        file.write_text(f"label,share\n{text}")
        with pytest.raises(ArtifactError, match=r"shares\.csv"):
            prior.read_shares(str(file), ["a", "b", "c"])


def test_masses_count_the_images_that_are_nearest_or_a_sample_of_them(monkeypatch):
    x, _ = clouds()
    rows = np.array([5, 50, 100])
    count = np.bincount(((x[:, None] - x[rows]) ** 2).sum(2).argmin(1), minlength=3)
    assert prior.masses(x, rows).tolist() == count.tolist()
    monkeypatch.setattr(prior, "IMAGES", len(x) // 2)
    sampled = prior.masses(x, rows)
    assert sampled.sum() == pytest.approx(len(x))
    assert not np.array_equal(sampled, count)
    assert sampled == pytest.approx(count, rel=0.3)


def test_what_is_no_graph_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="graph"):
        Neighbours.read(tmp_path, 2)
    np.save(tmp_path / "rows.npy", np.array([[1], [5]], np.int32))
    np.save(tmp_path / "sq_dist.npy", np.zeros((2, 1), np.float32))
    with pytest.raises(ArtifactError, match="rows below 2, got 1 to 5"):
        Neighbours.read(tmp_path, 2)


def test_an_image_that_no_label_reaches_has_what_the_probe_says():
    x, _ = clouds(40, 1)
    both = np.concatenate([x, -x])
    result = propagate(both, affinity(both), np.array([0, 1]), np.array([0, 1]), 2, PARAMS)
    assert result.reached.tolist() == [True] * 40 + [False] * 40
    p = result.mixture(both, slice(40, 80))
    np.testing.assert_allclose(p, result.probed(both[40:]), atol=1e-6)
    assert torch.is_tensor(result.scores.share)
