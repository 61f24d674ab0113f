"""Figures of the picks without labels, against loops."""

import numpy as np
import pytest

from pipeline.select.quality import quality
from tests.oracles.algebra import sq_dist
from tests.pools import cloud, pool


def test_figures_are_those_of_a_loop():
    x = cloud(150)
    picked, labelled = np.array([3, 50, 149]), np.array([7])
    found = quality(pool(x).space, picked, labelled, 0)
    gaps = [min(sq_dist(row, x[s]) for s in (3, 50, 149, 7)) ** 0.5 for row in x]
    assert found["mean_distance"] == pytest.approx(np.mean(gaps), rel=1e-4)
    assert found["max_distance"] == pytest.approx(max(gaps), rel=1e-4)
    sparsity = [np.mean(sorted(sq_dist(a, b) for b in x)[:20]) for a in x]
    shares = [np.mean([own > sparsity[s] for own in sparsity]) + 0.5 / 150 for s in picked]
    assert found["density_percentile"] == pytest.approx(100 * np.mean(shares), abs=1e-3)
    assert found["sample"] == 150


def test_clusters_with_a_pick_are_counted():
    x = np.concatenate([cloud(30, 4) / 100 + centre for centre in np.eye(4)]).astype(np.float32)
    space = pool(x).space
    none = np.empty(0, np.int64)
    assert quality(space, np.array([0, 30, 60, 90]), none, 0)["cluster_coverage"] == 1
    assert quality(space, np.array([0, 1, 2, 90]), none, 0)["cluster_coverage"] == 0.5
    assert quality(space, np.array([0, 1]), np.array([31, 60]), 0)["cluster_coverage"] == 0.75


def test_one_image():
    found = quality(pool(np.ones((1, 2), np.float32)).space, np.array([0]), np.empty(0, np.int64), 0)
    assert found == {
        "mean_distance": 0.0, "max_distance": 0.0, "cluster_coverage": 1.0, "density_percentile": 50.0, "sample": 1,
    }  # fmt: skip
