"""Spreading against dense algebra, scikit-learn and the meaning of its parts."""

import numpy as np
import pytest
import torch
from sklearn.semi_supervised import LabelSpreading

from pipeline.artifacts.neighbours import Neighbours
from pipeline.base import rng
from pipeline.graph import spread
from pipeline.graph.affinity import Affinity
from pipeline.graph.run import nearest_others
from pipeline.nn.neighbour_vote import edge_weights
from pipeline.vectors.geometry import unit
from tests.clouds import CPU, SEARCH, affinity, clouds, labelled


def dense(x, k=6):
    """S by loops: each image's k nearest others, weights by their distances, the larger of the two directions."""
    n = len(x)
    w = np.zeros((n, n))
    for i in range(n):
        d = [(float(((x[i].astype(float) - x[j]) ** 2).sum()), j) for j in range(n) if j != i]
        near = sorted(d)[:k]
        for square, j in near:
            w[i, j] = np.exp(-4 * square / near[-1][0])
    w = np.maximum(w, w.T)
    scale = 1 / np.sqrt(w.sum(1))
    return w * scale[:, None] * scale


def test_the_matrix_and_the_solution_are_those_of_dense_algebra():
    x, _ = clouds()
    a = affinity(x)
    s = dense(x)
    np.testing.assert_allclose(a.matrix.to_dense().numpy(), s[a.order][:, a.order], atol=1e-5)
    sources = torch.from_numpy(rng.stream(1, "sources").random((len(x), 5), dtype=np.float32))
    for alpha in (0.0, 0.5, 0.9, 0.99):
        wanted = np.linalg.solve(np.eye(len(x)) - alpha * s, sources.numpy().astype(float))
        np.testing.assert_allclose(spread.solve(a, sources, alpha).numpy(), wanted, rtol=2e-3, atol=1e-4)


def test_the_classes_are_those_of_scikit_learn_on_the_same_weights():
    x, y = clouds()
    s = dense(x)
    labels = torch.arange(3).repeat_interleave(3)  # three of each, so that both weigh classes alike
    rows = torch.cat([torch.from_numpy(np.flatnonzero(y == c)[:3]) for c in range(3)])
    given = np.full(len(x), -1)
    given[rows.numpy()] = labels.numpy()

    class Peer(LabelSpreading):
        def _build_graph(self):
            return s

    peer = Peer(alpha=0.9, max_iter=2000, tol=1e-9).fit(x, given)
    scores = spread.spread(affinity(x), rows, labels, 3, 0.9)
    np.testing.assert_allclose(scores.dense(slice(None)), peer.label_distributions_, atol=2e-3)


def test_without_spreading_labelled_images_alone_have_a_class():
    x, y = clouds()
    rows, labels = labelled(y, 9)
    scores = spread.spread(affinity(x), rows, labels, 3, 0.0)
    total = scores.share.sum(1)
    assert total[rows].tolist() == [1] * 9
    assert total.sum() == 9
    assert (scores.dense(slice(None))[rows].argmax(1) == labels).all()


def test_two_components_never_exchange_labels():
    x, _ = clouds(40, 1)
    far = -x
    a = affinity(np.concatenate([x, far]))
    scores = spread.spread(a, torch.tensor([0, 1]), torch.tensor([0, 1]), 2, 0.9)
    assert not scores.share[40:].any()
    assert scores.share[:40].sum(1).numpy() == pytest.approx(np.ones(40), abs=1e-5)
    one = spread.spread(a, torch.tensor([0]), torch.tensor([0]), 1, 0.9)
    assert (one.share.sum(1) > 0).tolist() == [True] * 40 + [False] * 40


def test_sinkhorn_ends_where_columns_have_the_prior_and_rows_sum_to_one():
    x, y = clouds()
    rows, labels = labelled(y, 9)
    prior = torch.tensor([0.2, 0.3, 0.5])
    before = spread.spread(affinity(x), rows, labels, 3, 0.9)
    after = spread.sinkhorn(before, prior, steps=2000)
    table = after.dense(slice(None))
    np.testing.assert_allclose(table.sum(0) / len(x), prior.numpy(), atol=1e-4)
    np.testing.assert_allclose(table.sum(1), 1, atol=1e-5)
    scaled = before.dense(slice(None)) * after.scale.numpy()  # a fixed point is a scaling of columns and rows
    np.testing.assert_allclose(scaled / scaled.sum(1, keepdims=True), table, atol=1e-4)


def test_blocks_of_classes_and_the_highest_ones_change_nothing_else(monkeypatch):
    x, _ = clouds(200, 30, 16)
    y = np.arange(200) % 30
    rows, labels = labelled(y, 90)
    whole = spread.spread(affinity(x), rows, labels, 30, 0.9)
    monkeypatch.setattr(spread, "COLUMNS", 7)
    parts = spread.spread(affinity(x), rows, labels, 30, 0.9)
    np.testing.assert_allclose(whole.dense(slice(None)), parts.dense(slice(None)), atol=1e-5)
    assert whole.share.shape == (200, spread.TOP)
    assert (whole.share[:, :-1] >= whole.share[:, 1:]).all()


def test_copies_have_the_weight_one_and_missing_neighbours_none():
    weight = edge_weights(torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, torch.inf], [torch.inf, torch.inf]]))
    assert weight.tolist() == [[1, 1], [1, pytest.approx(np.exp(-4))], [pytest.approx(np.exp(-4)), 0], [0, 0]]


def test_neighbours_leave_the_image_itself_out_also_among_many_copies():
    x = np.tile(unit(np.array([[1.0, 2.0]], np.float32)), (9, 1))
    found = nearest_others(x, 4, SEARCH)[0]
    assert found.rows.shape == (9, 4)
    assert not (found.rows == np.arange(9)[:, None]).any()
    assert all(len(set(row)) == 4 for row in found.rows.tolist())
    assert nearest_others(x[:3], 10, SEARCH)[0].rows.shape == (3, 2)


def test_an_isolated_image_does_not_spoil_the_matrix():
    rows = np.array([[1], [0], [-1]], np.int32)
    a = Affinity.of(Neighbours(rows, np.array([[0.1], [0.1], [np.inf]], np.float32)), CPU)
    s = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(a.matrix.to_dense(), s[a.order][:, a.order], rtol=1e-6)
    assert len(a) == 3
