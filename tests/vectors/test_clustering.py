"""k-means, one pick for each cluster, and the order of these picks."""

import logging
import subprocess
import sys

import faiss
import numpy as np
import pytest

from pipeline.select.by_cluster import best_of_each, coverage_order, from_clusters
from pipeline.select.methods.kmeans import KMeans
from pipeline.select.methods.random import Random
from pipeline.vectors import clustering
from pipeline.vectors.clustering import KMeansParams
from tests.oracles.algebra import sq_dist
from tests.pools import pool

KMEANS = KMeansParams(iterations=10, restarts=2, spherical=False)


def cloud(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def test_kmeans_finds_separate_clouds(caplog):
    caplog.set_level(logging.INFO)
    centres = np.array([[0, 0], [100, 0], [0, 100]], np.float32)
    truth = np.arange(90) % 3
    found = clustering.kmeans(centres[truth] + cloud(90, 2), 3, KMEANS, 0, 64)
    assert len({(a, b) for a, b in zip(truth, found.cluster, strict=True)}) == 3
    where = f"{clustering.num_gpus()} GPUs" if clustering.num_gpus() else "the CPU"
    assert caplog.messages == [f"k-means: 90 images into 3 clusters, on {where}"]


BESIDE_TORCH = """
import numpy, {order}
x = torch.randn(500, 16, device="cuda" if torch.cuda.is_available() else "cpu").cpu().numpy()
near = faiss.knn_gpu(faiss.StandardGpuResources(), x, x, 1) if faiss.get_num_gpus() else faiss.knn(x, x, 1)
assert (near[1][:, 0] == numpy.arange(500)).all()
assert torch.from_numpy(x).matmul(torch.eye(16)).equal(torch.from_numpy(x))
"""


@pytest.mark.parametrize("order", ["torch, faiss", "faiss, torch"])
def test_faiss_searches_beside_torch_whichever_is_imported_first(order):
    subprocess.run([sys.executable, "-c", BESIDE_TORCH.format(order=order)], check=True, timeout=100)


def test_a_faiss_without_kernels_for_the_gpu_is_refused_in_one_line_and_the_cpu_used(monkeypatch, caplog):
    """faiss-cpu that takes itself for one with a GPU; with faiss-gpu on a GPU nothing is refused."""
    assert (clustering.why_not() == "") == (faiss.get_num_gpus() > 0)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(
        clustering, "TRIAL", "import os; print('no kernel image', file=__import__('sys').stderr); os.abort()"
    )
    clustering.num_gpus.cache_clear()
    try:
        found = clustering.kmeans(np.eye(9, dtype=np.float32), 4, KMEANS, 0, 1)
        assert (clustering.num_gpus(), clustering.on_gpu(1)) == (0, False)
    finally:
        clustering.num_gpus.cache_clear()
    assert set(found.cluster) == {0, 1, 2, 3}
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == [
        f"FAISS {faiss.__version__} does not run on this GPU, so the CPU is used: no kernel image; a newer FAISS may: "
        "pip install --upgrade faiss-gpu"
    ]


def test_spherical_kmeans_sees_directions_alone():
    angles = np.array([0.0, 0.1, 2.0, 2.1])
    x = (np.column_stack([np.cos(angles), np.sin(angles)]) * np.array([[1], [50], [1], [50]])).astype(np.float32)
    for spherical in (True, False):
        found = clustering.kmeans(x, 2, KMeansParams(iterations=10, restarts=5, spherical=spherical), 0, 64).cluster
        assert bool(found[0] != found[2]) == spherical  # the two short ones


def test_all_images_take_part():
    """FAISS by itself trains on 256 images for each centroid; then one of the two far clouds of 3 would be missed."""
    x = np.concatenate([cloud(2000, 2), cloud(3, 2) + 500, cloud(3, 2) - 500])
    found = clustering.kmeans(x, 3, KMeansParams(iterations=10, restarts=5, spherical=False), 0, 64).cluster
    assert len({int(found[0]), int(found[2000]), int(found[2003])}) == 3


def test_two_levels_of_clusters_are_nearly_as_tight_as_one(monkeypatch):
    x = np.concatenate([cloud(900, 4), cloud(100, 4, 1) + 9])
    flat = clustering.kmeans(x, 60, KMEANS, 0, 64)
    monkeypatch.setattr(clustering, "FLAT_MOST", 50)
    deep = clustering.kmeans(x, 60, KMEANS, 0, 64)
    assert deep.cluster.max() == 59
    assert flat.sq_dist.sum() < deep.sq_dist.sum() < 1.15 * flat.sq_dist.sum()
    monkeypatch.setattr(clustering, "CELLS", 1)
    alone = clustering.kmeans(x, 60, KMEANS, 0, 64)
    assert deep.sq_dist.sum() < alone.sq_dist.sum()  # rows at a border go across it


def test_two_levels_where_most_of_the_first_are_lone_images(monkeypatch):
    monkeypatch.setattr(clustering, "FLAT_MOST", 10)
    far = np.eye(40, dtype=np.float32) * 1000
    x = np.concatenate([far, np.random.default_rng(0).normal(size=(2000, 40)).astype(np.float32)])
    found = clustering.kmeans(x, 400, KMEANS, 0, 64)
    assert np.isfinite(found.sq_dist).all()
    assert found.cluster.max() > 300


def test_centroids_are_learnt_from_what_memory_holds_and_every_row_has_its_nearest():
    x = np.tile(cloud(70, 16), (5000, 1))  # 22 MB
    found = clustering.kmeans(x, 70, KMEANS, 0, 64)
    assert (found.cluster.reshape(5000, 70) == found.cluster[:70]).all()
    assert found.sq_dist.sum() < 350_000 * 0.1


def test_clusters_without_images_leave_no_gap_in_the_numbers():
    x = np.repeat(cloud(4, 3), 5, axis=0)
    assert sorted(set(clustering.kmeans(x, 8, KMEANS, 0, 64).cluster.tolist())) == [0, 1, 2, 3]


def test_kmeans_picks_the_image_nearest_to_each_mean():
    x = np.concatenate([cloud(40, 3), cloud(20, 3) + 50])
    picks = KMeans(iterations=20, restarts=3, spherical=False).select(pool(x), 2, 0)
    nearest = [int(((x[a:b] - x[a:b].mean(axis=0)) ** 2).sum(axis=1).argmin()) + a for a, b in ((0, 40), (40, 60))]
    assert picks.rows.tolist() == nearest


def test_spherical_kmeans_picks_the_nearest_in_direction_whatever_its_length():
    x = cloud(200, 3) + 1
    directions = x / np.linalg.norm(x, axis=1, keepdims=True)
    picks = KMeans(iterations=20, restarts=1, spherical=True).select(pool(directions * (1 + np.abs(x[:, :1]))), 1, 0)
    assert picks.rows.tolist() == [int((directions @ directions.sum(axis=0)).argmax())]


def test_best_of_each_takes_the_lowest_row_on_ties_and_leaves_out_clusters_without_a_free_row():
    cluster, value = np.array([1, 0, 1, 0, 1, 2]), np.array([2.0, 3.0, 5.0, 3.0, 5.0, 9.0])
    free = np.ones(6, bool)
    assert best_of_each(cluster, value, free).tolist() == [1, 2, 5]
    free[[1, 2, 5]] = False
    assert best_of_each(cluster, value, free).tolist() == [3, 4]


def test_from_clusters_begins_with_what_covers_most_and_fills_up():
    x = np.array([[0], [1], [2], [9], [23]], np.float32)
    picks = from_clusters(pool(x), np.array([3, 1]), np.array([1, 1, 1, 0, 0]), 3)
    assert picks.rows.tolist() == [1, 3, 4]
    # The mean is 7, so the picks lie at -6 and 2; 3 of 5 images stand behind the first. 8 apart: 64.
    assert picks.scores.tolist() == pytest.approx([4 * 36 - 0.4 * 64, 0.4 * 64, 0])


def test_from_clusters_counts_what_labelled_images_cover():
    x = np.array([[0], [1], [2], [9], [23]], np.float32)
    cluster, rows = np.array([0, 0, 0, 1, 2]), np.array([3, 4])
    assert from_clusters(pool(x, labelled=(1,)), rows, cluster, 2).rows.tolist() == [4, 3]
    assert from_clusters(pool(x, labelled=(1,)), rows, cluster, 1).scores.tolist() == pytest.approx([0.2 * (22**2 - 0)])


def test_coverage_order_is_the_greedy_one_by_trying_all():
    rng = np.random.default_rng(0)
    x, share = cloud(30, 3), rng.dirichlet(np.ones(30))
    order, gains = coverage_order(x, share, np.full(30, np.inf, np.float32), 30)
    left = [4 * max(float(row @ row) for row in x)] * 30
    for row, gain in zip(order, gains, strict=True):
        trials = {}
        for candidate in set(range(30)) - set(order[: order.tolist().index(row)].tolist()):
            after = [min(gap, sq_dist(x[candidate], other)) for gap, other in zip(left, x, strict=True)]
            trials[candidate] = sum(s * (b - a) for s, b, a in zip(share, left, after, strict=True))
        assert trials[row] == pytest.approx(max(trials.values()), abs=1e-5)
        assert gain == pytest.approx(trials[row], abs=1e-5)
        left = [min(gap, sq_dist(x[row], other)) for gap, other in zip(left, x, strict=True)]


def test_random_draws_every_set_alike():
    x = np.zeros((4, 1), np.float32)
    drawn = [tuple(sorted(Random().select(pool(x), 2, seed).rows.tolist())) for seed in range(600)]
    counts = [drawn.count(pair) for pair in sorted(set(drawn))]
    assert len(counts) == 6
    assert min(counts) > 65  # 100 expected, standard deviation 9
