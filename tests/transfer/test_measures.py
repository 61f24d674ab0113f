"""Each measure of vectors, held against a closed form, a slower formula or scikit-learn."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from pipeline.evaluate.probes import nearest_vote
from pipeline.transfer import measures
from pipeline.transfer.measures import Figure, ece, episodes, few_shot, knn, logistic, validation_part
from pipeline.transfer.table import rank_correlation
from tests.transfer.clouds import clouds


def test_validation_is_a_share_of_each_class_and_leaves_one_to_fit():
    y = np.repeat([0, 1, 2, 3], [50, 10, 2, 1])
    held = validation_part(y, 0)
    assert [int(held[y == one].sum()) for one in range(4)] == [10, 2, 1, 0]
    assert (validation_part(y, 0) == held).all()
    assert (validation_part(y, 1) != held).any()


def test_nearest_neighbours_are_a_vote_of_twenty():
    vectors = clouds(spread=0.9)
    near = np.argsort(-(vectors.test_x @ vectors.x.T), axis=1)[:, :20]
    counts = np.stack([(vectors.y[near] == one).sum(axis=1) for one in range(3)], axis=1)
    clear = np.sort(counts, axis=1)[:, -1] > np.sort(counts, axis=1)[:, -2]
    vectors = vectors._replace(test_x=vectors.test_x[clear], test_y=vectors.test_y[clear])
    expected = (counts.argmax(axis=1)[clear] == vectors.test_y).mean()
    fewer = (nearest_vote(vectors.x, vectors.y, vectors.test_x, 5) == vectors.test_y).mean()
    assert 0.4 < expected < 1
    assert fewer != expected  # so the number of neighbours tells
    assert knn(vectors)["knn"].value == pytest.approx(expected)


def test_the_regression_minimises_the_sum_of_cross_entropy_and_half_the_penalty(monkeypatch):
    vectors = clouds(n=15)
    monkeypatch.setattr(measures, "PENALTIES", np.array([0.3]))
    figures, chosen = logistic(vectors, 0)

    def loss(flat):
        w, b = flat[:24].reshape(3, 8), flat[24:]
        p = log_softmax(vectors.x.astype(np.float64) @ w.T + b, axis=1)
        return -p[np.arange(len(p)), vectors.y].sum() + 0.15 * (w**2).sum()

    best = minimize(loss, np.zeros(27), method="L-BFGS-B").x
    z = vectors.test_x @ best[:24].reshape(3, 8).T + best[24:]
    p = np.exp(log_softmax(z, axis=1))
    right = p.argmax(axis=1) == vectors.test_y
    assert figures["logistic"].value == pytest.approx(right.mean())
    assert figures["ece"].value == pytest.approx(ece(p.max(axis=1), right, 0).value, abs=2e-3)
    assert chosen["penalty"] == 0.3


def test_the_penalty_is_the_best_on_validation_images_whatever_the_test_answers_are(monkeypatch):
    assert len(measures.PENALTIES) == 45
    assert (measures.PENALTIES[0], measures.PENALTIES[-1]) == pytest.approx((1e-6, 1e5))
    monkeypatch.setattr(measures, "PENALTIES", measures.PENALTIES[12::6])
    vectors = clouds(n=30, spread=0.8)
    figures, chosen = logistic(vectors, 0)
    held, fitted = vectors.validation, ~vectors.validation
    alone = {
        c: LogisticRegression(C=1 / c, max_iter=300).fit(vectors.x[fitted], vectors.y[fitted])
        for c in measures.PENALTIES.tolist()
    }
    shares = {c: model.score(vectors.x[held], vectors.y[held]) for c, model in alone.items()}
    assert chosen["validation"] == max(shares.values()) == shares[chosen["penalty"]]
    assert min(shares.values()) < max(shares.values())
    shuffled = vectors._replace(test_y=np.random.default_rng(0).permutation(vectors.test_y))
    others, same = logistic(shuffled, 0)
    assert same == chosen
    assert others["logistic"].value < figures["logistic"].value
    blind = vectors._replace(y=np.where(vectors.validation, (vectors.y + 1) % 3, vectors.y))
    assert logistic(blind, 0)[1]["validation"] < 0.5 < chosen["validation"]


def test_the_calibration_error_of_one_confidence_is_its_gap_to_the_accuracy():
    right = np.repeat([True, False], [60, 40])
    found = ece(np.full(100, 0.9), right, 0)
    assert found.value == pytest.approx(0.3)
    # of one bin the error is a share's, whose deviation is known
    assert found.high - found.value == pytest.approx(1.96 * (0.6 * 0.4 / 100) ** 0.5, rel=0.1)
    assert ece(np.full(100, 0.6), right, 0).low == 0


def test_episodes_name_the_nearest_mean_of_the_labelled_vectors():
    vectors = clouds(spread=0.0)
    assert (episodes(vectors, 1, np.random.default_rng(0)) == 1).all()
    noisy = clouds(spread=0.7)
    one, many = few_shot(noisy, 1, 0)["few_1"], few_shot(noisy, 20, 0)["few_20"]
    assert one.high < many.low
    every = few_shot(noisy, 40, 0)["few_40"]  # all labelled images: prototypes are the classes' means
    means = np.stack([noisy.x[noisy.y == c].mean(axis=0) for c in range(3)])
    nearest = ((noisy.test_x[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert every.low < (nearest == noisy.test_y).mean() < every.high


def test_figures_hold_their_value():
    assert Figure.of_share(1.0, 10)[1:] == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert Figure.of_mean(np.array([0.9, 1.0])) == (pytest.approx(0.95), pytest.approx(0.3147, abs=1e-3), 1.0)


def test_rank_correlation():
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3, 4], [2, 1, 3, 4]) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert np.isnan(rank_correlation([1, 1], [1, 2]))
