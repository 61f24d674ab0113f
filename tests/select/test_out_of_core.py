"""Vectors in parts on disk give the picks of the same vectors in memory."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from pipeline.artifacts.on_disk import Parts
from pipeline.select.by_cluster import best_of_each, representatives, uncovered
from pipeline.select.methods import SELECTORS
from pipeline.select.methods.kmeans import KMeans
from pipeline.select.pool import Pool
from pipeline.select.quality import quality
from pipeline.vectors import clustering
from pipeline.vectors.clustering import KMeansParams, kmeans, learn
from pipeline.vectors.neighbours import Search
from tests.pools import SEARCH, peak_bytes, selector

SMALL = Search.model_construct(memory_mb=1, exact_most=100_000, recall=0.95, probes=64)  # 1024 rows of 64 numbers
KMEANS = KMeansParams(iterations=5, restarts=1, spherical=True)
BLOCK_BYTES, BLOCK_NUMBERS = "pipeline.artifacts.matrix_files.BLOCK_BYTES", "pipeline.vectors.rows.BLOCK_NUMBERS"
ON_DISK = pytest.mark.parametrize("name", [name for name, made in SELECTORS.items() if made.out_of_core])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(BLOCK_BYTES, 1 << 12)
    monkeypatch.setattr(BLOCK_NUMBERS, 1 << 11)


def cloud(n, d=8, seed=0):
    """Numbers that float16 can hold."""
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float16)


def pools(folder, x, labelled=(), barred=(), cuts=(7, 100, 101), search=SEARCH):
    """The same vectors in memory, in one file and in several, as float32 and as float16."""
    found = [x.astype(np.float32)]
    for dtype, where in (("f4", cuts), ("f2", (5,)), ("f2", cuts)):
        own = folder / f"{dtype}-{len(where)}"
        own.mkdir(parents=True)
        for number, part in enumerate(np.split(x.astype(dtype), where)):
            np.save(own / f"{number}.npy", part)
        found.append(Parts.open(own))
    made = [Pool.of(rows, search, np.array(labelled, np.int64)) for rows in found]
    for one in made:
        one.barred[list(barred)] = True
    return made


def check(chosen, made, budget):
    first, *others = (chosen.select(one, budget, 0) for one in made)
    assert len(first.rows) == budget
    for other in others:
        assert other.rows.tolist() == first.rows.tolist()
        assert other.scores == pytest.approx(first.scores, rel=1e-5, abs=1e-6)


@ON_DISK
def test_parts_give_the_picks_of_the_matrix(name, tmp_path, monkeypatch):
    made = pools(tmp_path, cloud(700), labelled=(3, 99, 100, 500), barred=range(200, 400))
    for budget in (1, 30, 496):
        check(selector(name), made, budget)
    monkeypatch.setattr(clustering, "FLAT_MOST", 20)
    check(selector(name), made, 60)


def test_copies_are_filled_up_alike(tmp_path):
    x = np.repeat(cloud(5), 40, axis=0)
    check(KMeans(iterations=5, restarts=1, spherical=True), pools(tmp_path, x, labelled=(1, 81), barred=range(60)), 20)


def test_where_clusters_are_missing_the_rest_comes_from_evenly_spaced_images(tmp_path):
    x = np.repeat(cloud(2, 64), 1500, axis=0)
    x[1498:1502] *= np.float16(2)
    space = pools(tmp_path, x, labelled=(0,), search=SMALL)[2]
    few, rows = space.subsampled(np.array([2500]))
    assert rows.tolist() == sorted({*range(0, 3000, 3), 2500})
    assert few.x.tolist() == x[rows].tolist()
    assert rows[few.labelled].tolist() == [0]
    picks = KMeans(iterations=2, restarts=1, spherical=True).select(space, 4, 0).rows
    # The nearest to the other direction, on ties the lowest; the shorter of that direction; copies, the lowest first.
    assert picks.tolist() == [1500, 1503, 3, 6]


def test_centroids_are_learnt_from_the_same_sample(tmp_path):
    made = pools(tmp_path, cloud(3000, 64), search=SMALL)
    check(KMeans(iterations=2, restarts=1, spherical=False), made, 5)


def test_one_pass_finds_what_arrays_of_all_rows_do(tmp_path, monkeypatch):
    monkeypatch.setattr(BLOCK_NUMBERS, 100)  # 50 rows
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, size=(500, 2)).astype(np.float16)  # many ties
    for one in pools(tmp_path, x, labelled=(17, 400), barred=range(0, 250, 2)):
        for most in (2000, 10):
            monkeypatch.setattr(clustering, "FLAT_MOST", most)
            whole = kmeans(x.astype(np.float32), 15, KMEANS, 3, 64)
            rows, count = representatives(one, learn(one.space.rows, 15, KMEANS, 3, 64))
            expected = best_of_each(whole.cluster, -whole.sq_dist, uncovered(one, whole.cluster))
            assert rows.tolist() == expected.tolist()
            assert count.tolist() == np.bincount(whole.cluster)[whole.cluster[expected]].tolist()


def test_threads_change_nothing(tmp_path):
    parts = pools(tmp_path, cloud(4000, 16))[3]
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(KMeans(iterations=5, restarts=2, spherical=True).select(parts, 50, 0))
    assert found[0].rows.tolist() == found[1].rows.tolist()
    assert found[0].scores.tolist() == found[1].scores.tolist()


def test_quality_is_that_in_memory_but_for_the_density(tmp_path):
    first, *others = (
        quality(one.space, np.array([3, 50, 149]), np.array([7]), 0) for one in pools(tmp_path, cloud(300))
    )
    del first["density_percentile"]
    for other in others:
        assert other == pytest.approx(first)


def test_memory_is_that_of_blocks_and_the_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(BLOCK_BYTES, 1 << 18)
    monkeypatch.setattr(BLOCK_NUMBERS, 1 << 16)
    monkeypatch.setattr("pipeline.vectors.geometry.CACHED_NUMBERS", 1 << 16)
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", cloud(10_000, 64, number))  # 10 MB as float32; the sample has 0.3
    assert peak_bytes(lambda: selector("auto").select(Pool.of(Parts.open(tmp_path), SMALL), 20, 0)) < 5e6
