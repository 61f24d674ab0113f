"""Means, axes and weights of the views, without a network: raw rows are given."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from pipeline.embed.agreement import agreement, nearest, weight
from pipeline.embed.constants import fit
from pipeline.embed.moments import Moments
from pipeline.embed.own import Own
from pipeline.nn.backbones import Backbone, SmallResNet

NET = Backbone("small_resnet", SmallResNet(width=16, stem_stride=1), torch.tensor([0.3]), torch.tensor([0.4]))


def chance(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def centre(x, most, sizes=(1, 60, 39)):
    sums = Moments(x.shape[1], most)
    for block in np.split(x, np.cumsum(sizes)[:-1]):
        sums.add(block)
    return sums.centre()


def joined(own=None, dim=256, block=64, **views):
    """The constants of raw views by name, in blocks, and the vectors of the same rows."""
    raw, rows = np.concatenate(list(views.values()), axis=1), np.arange(len(next(iter(views.values()))))
    order = np.random.default_rng(5).permutation(len(rows))  # blocks come shard by shard
    parts = [order[start : start + block] for start in range(0, len(rows), block)]
    widths = {name: x.shape[1] for name, x in views.items()}
    made = fit(NET, widths, dim, own, rows, ((part, raw[part]) for part in parts))
    return made, made.vectors(rows, raw)


class Given(Own):
    """Own vectors by row, without a file."""

    def __init__(self, x):
        self.vectors, self.rows = x, np.arange(len(x))


def test_axes_are_those_of_pca_on_centred_rows_and_are_not_rescaled():
    x = chance(100, 30) * np.geomspace(1, 0.1, 30, dtype=np.float32) + 5
    found = centre(x, 8)
    oracle = PCA(8, svd_solver="full").fit(x)
    np.testing.assert_allclose(found.mean, oracle.mean_, rtol=1e-6)
    axes = found.rotation.numpy().T
    assert np.abs(axes).max(axis=1) == pytest.approx(axes.max(axis=1))  # the sign is fixed
    np.testing.assert_allclose(np.abs((axes * oracle.components_).sum(axis=1)), np.ones(8), atol=1e-5)
    turned = (torch.from_numpy(x) - found.mean) @ found.rotation
    np.testing.assert_allclose(turned.mean(dim=0), np.zeros(8), atol=1e-5)
    np.testing.assert_allclose(turned.var(dim=0), oracle.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(found(torch.from_numpy(x)).norm(dim=1), np.ones(100), rtol=1e-5)


def test_narrow_rows_keep_their_axes():
    x = chance(100, 8) + 3
    found = centre(x, 8)
    assert found.rotation is None
    np.testing.assert_allclose(found(torch.from_numpy(x)), unit(x - x.mean(axis=0)), atol=1e-5)


def test_fewer_images_than_dimensions_give_as_many_as_they_have():
    x = chance(100, 30)
    x[6:] = x[:1]
    found = centre(x, 20)
    assert found.dim == 5  # six points lie on five axes
    assert centre(chance(1, 30), 20, (1,)).dim == 1
    assert centre(chance(2, 30), 20, (1, 1)).dim == 1


def test_a_copy_counts_fully_and_noise_nothing():
    x = unit(chance(500, 12))
    made, vectors = joined(backbone=x, pixels=x * 3, hog=chance(500, 9, seed=1))
    assert made.weights == {"backbone": 1.0, "pixels": 1.0, "hog": 0.0}
    alone = joined(backbone=x)[1]
    assert vectors.shape == (500, 24)  # noise has no columns
    np.testing.assert_allclose(vectors[:, :12], alone * 0.5**0.5, atol=1e-6)
    np.testing.assert_allclose(alone, unit(x - x.mean(axis=0)), atol=1e-5)
    assert joined(own=Given(x), backbone=x)[0].weights == {"backbone": 1.0, "own": 1.0}
    assert joined(own=Given(chance(500, 12, seed=1)), backbone=x)[1].shape == (500, 12)


def test_a_stage_of_the_network_counts_by_its_agreement():
    x, stage = unit(chance(500, 12)), chance(500, 12, seed=3)
    stage += 3 * x
    made, vectors = joined(backbone=x, intermediate1=unit(stage), intermediate2=unit(chance(500, 9, seed=1)))
    agreed = agreement(unit(unit(stage) - unit(stage).mean(axis=0)), unit(x - x.mean(axis=0)))
    assert 0.02 < agreed < 0.1  # pixels that agree so little count nothing
    assert made.weights["intermediate1"] == pytest.approx(agreed)
    assert 0 <= made.weights["intermediate2"] < 0.01
    assert vectors.shape[1] == 24 + 9 * (made.weights["intermediate2"] > 0)


def test_a_stage_keeps_at_most_as_many_numbers_as_hog():
    x = unit(chance(500, 200))
    made, _ = joined(backbone=x, intermediate1=x, intermediate2=x[:, :90])
    assert [view.dim for view in made.embedder.views] == [200, 96, 90]
    assert [view.dim for view in joined(dim=50, backbone=x, intermediate1=x)[0].embedder.views] == [50, 50]


def test_own_vectors_come_last_and_an_embedder_gives_the_others():
    x, own = unit(chance(500, 12)), chance(500, 300, seed=2)
    own[:, :12] += 40 * x
    made, vectors = joined(own=Given(own), backbone=x, dim=6)
    assert 0.5 < made.view.weight <= 1
    assert vectors.shape == (500, 12)
    np.testing.assert_allclose(unit(vectors[:, : made.embedder.dim]), joined(backbone=x, dim=6)[1], atol=1e-5)
    expected = made.centre(torch.from_numpy(unit(own)))
    np.testing.assert_allclose(unit(vectors[:, 6:]), expected, atol=1e-5)
    assert made.about == {"own": {"name": "own", "raw": 300, "dim": 6, "weight": made.view.weight,
                                  "agreement": made.view.agreement}}  # fmt: skip


def test_the_blocks_do_not_matter():
    views = {"backbone": unit(chance(3000, 12)), "pixels": chance(3000, 100, seed=1), "hog": chance(3000, 9, seed=2)}
    views["pixels"][:, :12] += views["backbone"] * 6
    (few, a), (many, b) = (joined(**views, block=block) for block in (7, 3000))
    assert 0 < few.weights["pixels"] < 1
    assert few.weights == pytest.approx(many.weights)
    assert a.shape == (3000, 12 + 64)  # pixels keep 64
    np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("num", [1, 2, 3, 40])
def test_images_that_are_all_the_same_are_zeros_and_so_is_one(num):
    views = {"backbone": np.full((num, 5), 5**-0.5, np.float32), "pixels": np.full((num, 100), 0.3, np.float32)}
    _, vectors = joined(**views, hog=np.zeros((num, 324), np.float32))
    np.testing.assert_array_equal(vectors, np.zeros_like(vectors))


def test_a_flat_picture_among_others_is_no_nan():
    views = {"backbone": unit(chance(40, 5)), "pixels": abs(chance(40, 100)), "hog": abs(chance(40, 324))}
    for x in views.values():
        x[7] = 0
    _, vectors = joined(**views)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(40), rtol=1e-5)


def test_agreement_is_the_shared_neighbours_beyond_chance():
    a, b = unit(chance(300, 4)), unit(chance(300, 4, seed=1))
    b[:150] = a[:150]
    k, total = 2, 0  # 300 / 140
    for i in range(300):
        near = []
        for x in (a, b):
            others = sorted((j for j in range(300) if j != i), key=lambda j, x=x: -float(x[i] @ x[j]))
            near.append(set(others[:k]))
        total += len(near[0] & near[1])
    overlap = total / (300 * k)
    assert agreement(a, b) == pytest.approx((overlap - 2 / 299) / (1 - 2 / 299))
    assert agreement(a, a) == pytest.approx(1)
    assert abs(agreement(unit(chance(1400, 9)), unit(chance(1400, 9, seed=1)))) < 0.01
    assert [agreement(a[:m], a[:m]) for m in (1, 2, 3)] == [0, 0, 0]  # all are neighbours of all
    assert nearest(np.ones((4, 1), np.float32), 2).tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]


def test_the_weight_rises_between_the_two_limits():
    assert [weight(a) for a in (-0.1, 0.1, 0.15, 0.2, 1)] == pytest.approx([0, 0, 0.5, 1, 1])
