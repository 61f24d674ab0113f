from pathlib import Path

import numpy as np
import pytest

from pipeline.base.errors import ParamsError
from pipeline.base.params import Params
from pipeline.select import clustering
from pipeline.select.clustering import Lloyd
from pipeline.select.geometry import centred
from pipeline.select.methods import SELECTORS
from pipeline.select.methods.usl import Usl, closeness, regularised
from pipeline.select.selector import best_of_each
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


def test_density_is_that_of_a_loop():
    x = cloud(50)
    assert pool(x).space.density(7) == pytest.approx(np.array(oracle.density(x.tolist(), 7)), rel=1e-4)


@pytest.mark.parametrize("values", [{"weight": 0.0}, {"rounds": 0}])
def test_without_regulariser_it_is_the_densest_image_of_each_cluster(values):
    x = cloud(80)
    cluster = np.arange(80) % 7
    assert picked(x, cluster, **values) == best_of_each(cluster, pool(x).space.density(6), np.ones(80, bool)).tolist()


def test_one_round_without_momentum_is_one_step_from_the_densest():
    x, cluster = cloud(60), np.arange(60) % 5
    rep, every = pool(x).space.density(6), np.ones(60, bool)
    first = best_of_each(cluster, rep, every)
    reg = [sum(oracle.sq_dist(x[i], x[s]) ** -0.5 for c, s in enumerate(first) if c != cluster[i]) for i in range(60)]
    assert (
        picked(x, cluster, momentum=0.0, rounds=1) == best_of_each(cluster, rep - 0.5 * np.array(reg), every).tolist()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"neighbours": 20}, {"weight": 3.0}, {"alpha": 2.0}, {"momentum": 0.0}, {"rounds": 1},
        {"horizon": {"kind": "radius", "value": 0.3}}, {"horizon": {"kind": "nearest", "value": 1.0}},
    ],
)  # fmt: skip
def test_each_parameter_changes_something(changes):
    x, cluster = cloud(400), np.arange(400) % 40
    assert picked(x, cluster, weight=1.0, alpha=1.0, **{}) != picked(
        x, cluster, **{"weight": 1.0, "alpha": 1.0, **changes}
    )


def test_clustering_parameters_reach_kmeans():
    x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    base = Usl.model_validate(VALUES).select(pool(x), 30, 0).rows.tolist()
    for changes in ({"iterations": 1}, {"restarts": 5}, {"spherical": True}):
        assert Usl.model_validate({**VALUES, **changes}).select(pool(x), 30, 0).rows.tolist() != base


def test_copies_in_other_clusters_give_large_numbers_and_not_infinite_ones():
    x = np.repeat(cloud(10), 4, axis=0)
    cluster = np.tile(np.arange(4), 10)  # a copy of every image in every cluster
    for alpha in (0.5, 2.0, 8.0):
        reg = closeness(pool(x).space, cluster, np.arange(4), Usl.model_validate({**VALUES, "alpha": alpha}))
        assert reg[:4] == pytest.approx(3 * pool(x).space.floor ** -alpha, rel=1e-3)  # three copies in other clusters
        assert np.isfinite(reg).all()
    assert len(set(picked(x, cluster, neighbours=4))) == 4


def test_memory_is_bounded_by_blocks(monkeypatch):
    x, cluster = cloud(500), np.arange(500) % 50
    whole = picked(x, cluster)
    monkeypatch.setattr("pipeline.select.methods.usl.BLOCK", 50 * 7)
    assert picked(x, cluster) == whole


def test_seeds_of_usl_and_kmeans_differ(monkeypatch):
    seeds = []
    for name, used in (("kmeans", "learn"), ("usl", "kmeans")):
        real = getattr(clustering, used)
        monkeypatch.setattr(f"pipeline.select.{name}.{used}", lambda *a, real=real: seeds.append(a[3]) or real(*a))
        values = VALUES if name == "usl" else {key: VALUES[key] for key in ("iterations", "restarts", "spherical")}
        SELECTORS[name].model_validate(values).select(pool(cloud(30)), 3, 0)
    assert len(set(seeds)) == 2


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("horizon.kind=none", "select.usl.horizon.kind: expected 'radius' or 'nearest', got 'none'"),
        (
            "horizon={kind: nearest, value: 2.5}",
            "select.usl.horizon: expected a whole number of nearest picks, got {'kind': 'nearest', 'value': 2.5}",
        ),
        ("momentum=1", "select.usl.momentum: expected less than 1, got 1"),
        ("neighbours=0", "select.usl.neighbours: expected greater than or equal to 1, got 0"),
        ("alpha=0", "select.usl.alpha: expected greater than 0, got 0"),
        ("radius=1", "select.usl: unknown ['radius']"),
    ],
)  # fmt: skip
def test_a_broken_block_is_refused(item, message):
    file = Path(__file__).parents[2] / "params.yaml"
    with pytest.raises(ParamsError) as refusal:
        Params.read(file, [f"select.usl.{item}"]).block("select.usl", Usl)
    assert str(refusal.value) == f"{file}: {message}"


def test_where_picks_are_many_those_around_the_cluster_are_nearly_all_that_matter():
    x = cloud(1500, 6)
    given = pool(x)
    cluster = clustering.kmeans(x, 120, Lloyd(iterations=10, restarts=1, spherical=False), 0, 64).cluster
    rows = best_of_each(cluster, given.space.density(6), given.free)
    params = Usl.model_validate({**VALUES, "horizon": {"kind": "nearest", "value": 10.0}})
    found = closeness(given.space, cluster, rows, params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.select.methods.usl.AROUND", 1000)
        exact = closeness(given.space, cluster, rows, params)
    assert (found <= exact * (1 + 1e-6)).all()  # of fewer picks, the nearest are not nearer
    assert found.mean() > 0.995 * exact.mean()
    assert (found < exact * (1 - 1e-6)).any()  # an approximation, and this test would see it
