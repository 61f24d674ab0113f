import numpy as np
import pytest

from pipeline.base import rng
from pipeline.select import geometry
from pipeline.select.kernel import Sphere
from pipeline.select.methods import activeft
from pipeline.select.methods.activeft import ActiveFt, loss_and_gradient, nearest_images, trained
from tests.oracles import activeft as oracle
from tests.pools import cloud
from tests.pools import pool as pooled

VALUES = {"temperature": 0.07, "learning_rate": 0.01, "steps": 60, "sample": 100_000}


def made(**changes):
    return ActiveFt.model_validate({**VALUES, **changes})


def centroids(x, count, seed=0):
    return cloud(count, x.shape[1], 100 + seed).astype(np.float64) * 1.3  # their length must not count


@pytest.mark.parametrize(("free", "fixed"), [(5, 0), (4, 3), (1, 0), (1, 1)])
def test_loss_and_gradient_are_those_of_the_loops(monkeypatch, free, fixed):
    monkeypatch.setattr(activeft, "BLOCK", 10)  # blocks of centroids with a rest
    x = cloud(30)
    theta, kept = centroids(x, free), cloud(30, seed=7)[:fixed].astype(np.float64)
    for temperature in (0.07, 0.5):
        loss, gradient = loss_and_gradient(theta, kept, x, temperature)
        rows = (kept.tolist(), x.tolist(), temperature)
        assert loss == pytest.approx(oracle.loss(theta.tolist(), *rows), rel=1e-5)
        expected = oracle.gradient(lambda value, rows=rows: oracle.loss(value, *rows), theta.tolist())
        assert gradient == pytest.approx(np.array(expected), rel=1e-3, abs=1e-4)


def test_training_is_that_of_the_loops():
    x = cloud(20)
    start, fixed = centroids(x, 3), cloud(5, seed=9)[:2].astype(np.float64)
    params = made(steps=6, learning_rate=0.05)
    found = trained(x, start, fixed, params, np.random.default_rng(0))
    rows = (fixed.tolist(), x.tolist(), params.temperature)
    assert found == pytest.approx(
        np.array(oracle.adam(lambda v: oracle.loss(v, *rows), start.tolist(), 0.05, 6)), abs=1e-4
    )


def test_picks_are_the_nearest_unused_images_of_the_loop():
    x = cloud(40)
    theta = np.repeat(centroids(x, 4), 3, axis=0)  # three centroids want the same image
    free = [i for i in range(40) if i not in (3, 4, 11)]
    pool = pooled(x, labelled=(3, 4), barred=(11,))
    assert nearest_images(pool, Sphere.of(x), theta).tolist() == oracle.nearest(theta.tolist(), x.tolist(), free)


def test_without_steps_it_is_a_random_draw():
    x = cloud(80)
    for seed in range(2):
        drawn = rng.stream(seed, "select", "activeft").choice(80, 9, replace=False)
        assert sorted(made(steps=0).select(pooled(x), 9, seed).rows.tolist()) == sorted(drawn.tolist())
        assert sorted(made().select(pooled(x), 9, seed).rows.tolist()) != sorted(drawn.tolist())


def test_a_sample_of_500_images_costs_little_of_the_loss():
    """Of what training takes off the loss, steps of 500 images miss 0.6 to 1.9 % over ten seeds."""
    x = cloud(3000, 8)
    start, none = x[:20].astype(np.float64), np.empty((0, 8))
    before, exact = (
        loss_and_gradient(
            trained(x, start, none, made(learning_rate=1e-3, steps=steps), np.random.default_rng(0)), none, x, 0.07
        )[0]
        for steps in (0, 300)
    )
    for seed in range(2):
        theta = trained(x, start, none, made(learning_rate=1e-3, steps=300, sample=500), np.random.default_rng(seed))
        assert loss_and_gradient(theta, none, x, 0.07)[0] - exact < 0.05 * (before - exact)


def test_labelled_images_repel_and_barred_ones_are_not_picked():
    x = cloud(200)
    rows = made(steps=0).select(pooled(x), 12, 0).rows
    pool = pooled(x, labelled=rows, barred=range(0, 200, 3))
    picks = made().select(pool, 12, 0)
    assert not set(picks.rows.tolist()) & (set(rows.tolist()) | set(range(0, 200, 3)))
    theta, taken = centroids(x, 1), x[:1].astype(np.float64)
    near = taken + 0.1 * theta
    moved = trained(x[:2], near, taken, made(learning_rate=0.01), np.random.default_rng(0))
    assert oracle.cosine(moved[0], taken[0]) < oracle.cosine(near[0], taken[0]) - 0.1


def test_copies_wait_until_all_different_images_are_picked():
    x = np.repeat(cloud(20), 5, axis=0)
    picks = made().select(pooled(x, labelled=(7,)), 30, 0)
    assert sorted(set((picks.rows[:19] // 5).tolist())) == [i for i in range(20) if i != 1]
    wanted = x[[5, 5, 0]].astype(np.float64)  # the labelled image
    found = nearest_images(pooled(x, labelled=(7,)), Sphere.of(x), wanted).tolist()
    assert len({row // 5 for row in found} - {1}) == 3


@pytest.mark.parametrize("length", [1e-18, 1e15])
def test_images_without_a_direction_and_of_any_length(length):
    x = cloud(50) * np.float32(length)
    assert len(made().select(pooled(x), 9, 0).rows) == 9
    x[:10] = 0
    assert len(made().select(pooled(x), 30, 0).rows) == 30


def test_memory_is_bounded_by_blocks(monkeypatch):
    x = cloud(500)
    whole = made().select(pooled(x), 30, 0).rows.tolist()
    monkeypatch.setattr(activeft, "BLOCK", 30 * 7)
    monkeypatch.setattr(geometry, "QUERIES", 7)
    assert made().select(pooled(x), 30, 0).rows.tolist() == whole


@pytest.mark.parametrize(
    "changes",
    [{"temperature": 0.5}, {"learning_rate": 0.05}, {"steps": 200}, {"sample": 30}],
    ids=lambda c: next(iter(c)),
)
def test_each_parameter_changes_something(changes):
    pool = pooled(cloud(400))
    base, other = made().select(pool, 30, 0), made(**changes).select(pool, 30, 0)
    assert other.rows.tolist() != base.rows.tolist()
    assert other.about["images_a_step"] == changes.get("sample", 400)
