import numpy as np
import pytest

from pipeline.select.by_cluster import best_of_each
from pipeline.select.methods.usl import Usl, closeness, regularised
from pipeline.vectors import clustering
from pipeline.vectors.clustering import KMeansParams
from pipeline.vectors.geometry import centred
from tests.oracles import usl as oracle
from tests.pools import pool

VALUES = {
    "iterations": 20, "restarts": 2, "spherical": False, "neighbours": 6, "weight": 0.5, "alpha": 0.5,
    "horizon": {"kind": "radius", "value": 4.0}, "momentum": 0.9, "rounds": 10,
}  # fmt: skip


def cloud(n, d=4, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return centred(x / np.linalg.norm(x, axis=1, keepdims=True))


def picked(x, cluster, **values):
    params = Usl.model_validate({**VALUES, **values})
    given = pool(x)
    return regularised(given, cluster, given.space.density(params.neighbours), params).tolist()


@pytest.mark.parametrize(
    ("horizon", "weight", "alpha", "momentum", "rounds"),
    [
        (("radius", 4.0), 0.5, 0.5, 0.9, 10),  # the paper's rows: CIFAR-10, CIFAR-100, ImageNet twice
        (("radius", 1.0), 1.0, 1.0, 0.9, 10),
        (("nearest", 5), 1.5, 0.5, 0.0, 2),
        (("nearest", 3), 0.05, 1.0, 0.0, 2),
        (("nearest", 99), 0.7, 0.8, 0.5, 3),
    ],
)
def test_picks_are_those_of_the_paper_in_loops(horizon, weight, alpha, momentum, rounds):
    kind, value = horizon
    changed = 0
    for seed in range(5):
        x = cloud(60, seed=seed)
        cluster = np.random.default_rng(seed).permutation(np.arange(60) % 9)
        expected = oracle.picks(x.tolist(), cluster.tolist(), 6, weight, alpha, kind, value, momentum, rounds)
        horizon = {"kind": kind, "value": float(value)}
        found = picked(x, cluster, horizon=horizon, weight=weight, alpha=alpha, momentum=momentum, rounds=rounds)
        assert found == expected
        changed += found != picked(x, cluster, weight=0.0)
    assert changed  # the regulariser had something to say


def test_copies_in_other_clusters_give_large_numbers_and_not_infinite_ones():
    x = np.repeat(cloud(10), 4, axis=0)
    cluster = np.tile(np.arange(4), 10)  # a copy of every image in every cluster
    for alpha in (0.5, 2.0, 8.0):
        reg = closeness(pool(x).space, cluster, np.arange(4), Usl.model_validate({**VALUES, "alpha": alpha}))
        assert reg[:4] == pytest.approx(
            3 * pool(x).space.copy_sq_dist ** -alpha, rel=1e-3
        )  # three copies in other clusters
        assert np.isfinite(reg).all()
    assert len(set(picked(x, cluster, neighbours=4))) == 4


def test_where_picks_are_many_those_around_the_cluster_are_nearly_all_that_matter():
    x = cloud(1500, 6)
    given = pool(x)
    cluster = clustering.kmeans(x, 120, KMeansParams(iterations=10, restarts=1, spherical=False), 0, 64).cluster
    rows = best_of_each(cluster, given.space.density(6), given.free)
    params = Usl.model_validate({**VALUES, "horizon": {"kind": "nearest", "value": 10.0}})
    found = closeness(given.space, cluster, rows, params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.select.methods.usl.AROUND", 1000)
        exact = closeness(given.space, cluster, rows, params)
    assert (found <= exact * (1 + 1e-6)).all()  # of fewer picks, the nearest are not nearer
    assert found.mean() > 0.995 * exact.mean()
    assert (found < exact * (1 - 1e-6)).any()  # an approximation, and this test would see it
