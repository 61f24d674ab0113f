import numpy as np
import pytest
import torch

from pipeline.base import rng
from pipeline.select.methods import uslt
from pipeline.select.methods.uslt import centroids, drawn_neighbours, loss_and_mean, predictions, trained
from pipeline.select.pool import Space
from pipeline.vectors.geometry import sq_dists
from tests.oracles import activeft
from tests.oracles import uslt as oracle
from tests.pools import SEARCH, cloud, selector
from tests.pools import pool as pooled

VALUES = {"iterations": 5, "heads": 2, "neighbours": 5, "scale": 10.0, "dropout": 0.2, "steps": 20, "batch_size": 64}


def loss_gradient_and_mean(weight, *given):
    leaf = torch.tensor(weight, requires_grad=True)
    loss, mean = loss_and_mean(leaf, *map(torch.from_numpy, given[:-1]), given[-1])
    loss.backward()
    return loss.item(), leaf.grad.numpy(), mean.numpy()


def made(**changes):
    return selector("uslt", **{**VALUES, **changes})


@pytest.mark.parametrize(
    "changes",
    [{}, {"confidence": 0.6}, {"weight": 5.0, "adjust": 5.0, "sharpen": 0.25}, {"weight": 0.0}, {"scale": 2.0}],
)
def test_loss_and_gradient_are_those_of_the_loops(changes):
    params = made(**changes)
    weight = 1.4 * cloud(5).astype(np.float64)
    anchor, neighbour, strong = (cloud(8, seed=seed).astype(np.float64) for seed in (1, 2, 3))
    prior = np.array([0.1, 0.3, 0.05, 0.35, 0.2])
    loss, gradient, mean = loss_gradient_and_mean(weight, anchor, neighbour, strong, prior, params)
    rows = (anchor.tolist(), neighbour.tolist(), strong.tolist(), prior.tolist(), params)
    frozen = weight.tolist()
    assert loss == pytest.approx(oracle.loss(frozen, frozen, *rows), rel=1e-9)
    expected = activeft.gradient(lambda value: oracle.loss(value, frozen, *rows), weight.tolist())
    assert gradient == pytest.approx(np.array(expected), rel=1e-5, abs=1e-7)
    each = [oracle.softmax(oracle.logits(frozen, a, params.scale)) for a in anchor.tolist()]
    assert mean == pytest.approx(np.mean(each, axis=0))


def test_an_empty_cluster_has_no_infinite_prior():
    args = [cloud(8, seed=seed) for seed in (1, 2, 3)]
    loss, gradient, _ = loss_gradient_and_mean(cloud(3), *args, np.array([0, 0.5, 0.5], np.float32), made())
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_partners_are_each_of_the_nearest_others():
    x = cloud(30)
    anchors = np.repeat(np.arange(30), 60).reshape(20, 90)
    partners = drawn_neighbours(Space(x, SEARCH), anchors, 4, np.random.default_rng(0))
    true = sq_dists(x, x).argsort(axis=1)
    for i in range(30):
        assert set(partners[anchors == i].tolist()) == set(true[i, 1:5].tolist())
    alone = drawn_neighbours(Space(x[:1], SEARCH), np.zeros((1, 3), np.int64), 4, np.random.default_rng(0))
    assert (alone == 0).all()


def test_training_lowers_the_loss_and_follows_the_gradient():
    x = cloud(300, 4)
    start = centroids(x, 8, made(), 0, 64)
    anchors = np.random.default_rng(0).integers(300, size=(200, 64))
    partners = drawn_neighbours(Space(x, SEARCH), anchors, 5, np.random.default_rng(1))
    losses = [
        trained(x, start, anchors[:steps], partners[:steps], made(), np.random.default_rng(2))[1] for steps in (5, 200)
    ]
    assert losses[1] < 0.9 * losses[0]
    # The first step of Adam is the sign of the gradient, whatever its size; without dropout there is one view.
    moved, loss = trained(x, start, anchors[:1], partners[:1], made(dropout=0.0), np.random.default_rng(2))
    expected = loss_gradient_and_mean(
        start, x[anchors[0]], x[partners[0]], x[anchors[0]], np.full(8, 1 / 8, np.float32), made()
    )
    assert loss == pytest.approx(expected[0])
    assert moved - start == pytest.approx(-0.01 * np.sign(expected[1]), abs=1e-4)


def test_predictions_are_those_of_a_loop(monkeypatch):
    monkeypatch.setattr("pipeline.vectors.rows.BLOCK_NUMBERS", 5 * 7)
    x, weight = cloud(30), cloud(5, seed=1) * 3
    cluster, confidence = predictions(x, weight, 10.0)
    each = np.array([oracle.softmax(oracle.logits(weight, row, 10.0)) for row in x])
    assert cluster.tolist() == each.argmax(axis=1).tolist()
    assert confidence == pytest.approx(np.log(each.max(axis=1)), rel=1e-4, abs=1e-7)
    confident = predictions(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), 40.0)[1]
    assert confident == pytest.approx(-np.exp(-40.0), rel=1e-5)  # softmax itself is 1 in float32


def test_without_steps_it_is_the_most_confident_image_of_each_cluster_of_kmeans():
    x = cloud(200)
    picks = made(steps=0, heads=1).select(pooled(x), 9, 0)
    weight = centroids(x, 9, made(), rng.number(0, "select", "uslt", 0), 64)
    probability = np.array([oracle.softmax(oracle.logits(weight, row, 10.0)) for row in x])
    own = probability.argmax(axis=1)
    best = [max(np.flatnonzero(own == c), key=lambda i, c=c: probability[i, c]) for c in range(9)]
    assert sorted(picks.rows.tolist()) == sorted(best)


def test_clusters_come_apart_where_images_do():
    centres = np.eye(6, dtype=np.float32)
    x = np.repeat(centres, 30, axis=0) + 0.1 * np.random.default_rng(0).normal(size=(180, 6)).astype(np.float32)
    rows = made(restarts=3).select(pooled(x), 6, 0).rows
    assert sorted((rows // 30).tolist()) == [0, 1, 2, 3, 4, 5]
    rows = made(restarts=3).select(pooled(x, labelled=(0, 40), barred=range(60, 89)), 4, 0).rows
    assert sorted((rows // 30).tolist()) == [2, 3, 4, 5]  # clusters with a label get no pick
    assert 89 in rows  # the only one of its cluster that may be picked


def test_of_several_heads_the_one_of_least_loss_is_used(monkeypatch):
    x = cloud(200)
    found = []
    real = uslt.trained
    monkeypatch.setattr(uslt, "trained", lambda *args: found.append(real(*args)) or found[-1])
    monkeypatch.setattr(
        uslt, "predictions", lambda x, weight, scale: used.append(weight) or predictions(x, weight, scale)
    )
    used = []
    picks = made(heads=4).select(pooled(x), 9, 0)
    losses = [loss for _, loss in found]
    assert len(set(losses)) == 4
    assert (used[0] == found[int(np.argmin(losses))][0]).all()
    assert picks.about["loss"] == min(losses)
