"""Exact neighbours, inverted lists and their recall."""

import numpy as np
import pytest

from pipeline.vectors import geometry
from pipeline.vectors.neighbours import InvertedLists, Search
from tests.oracles.algebra import sq_dist
from tests.pools import SEARCH, cloud, peak_bytes


def mean_sq_dist(x, k, **search):
    search = SEARCH.model_copy(update=search)
    return InvertedLists.build(x, search).search(k, search).mean_sq_dist(k)


def clouds(n, d=16, parts=40):
    chance = np.random.default_rng(3)
    x = chance.normal(size=(parts, d))[chance.integers(parts, size=n)] + chance.normal(size=(n, d)) / 3
    return geometry.centred(x.astype(np.float32))


def test_rows_are_assigned_to_the_nearest_point_and_the_lowest_on_ties(monkeypatch):
    monkeypatch.setattr(geometry, "CACHED_NUMBERS", 50)
    x, points = cloud(22, 3), np.repeat(cloud(4, 3, 1), 2, axis=0)  # blocks of four rows, with a rest
    nearest, gap = geometry.assign(x, points)
    for row, p, own in zip(x, nearest, gap, strict=True):
        found = [sq_dist(row, point) for point in points[::2]]
        assert (p, own) == (2 * np.argmin(found), pytest.approx(min(found), rel=1e-4, abs=1e-6))


@pytest.mark.parametrize("k", [1, 2, 9, 30])
def test_mean_of_the_nearest_is_that_of_a_loop(monkeypatch, k):
    monkeypatch.setattr(geometry, "QUERIES", 7)  # blocks with a rest, and columns fewer than k
    monkeypatch.setattr(geometry, "POINTS", 8)
    x = geometry.centred(cloud(30, 4))
    expected = [np.mean(sorted(sq_dist(p, q) for q in x)[:k]) for p in x]
    assert mean_sq_dist(x, k) == pytest.approx(np.array(expected), rel=1e-4, abs=1e-5)


def test_long_vectors_lose_no_digits():
    x = cloud(40, 4)
    far = (x + 1000).astype(np.float32)  # rounds x to about 6e-5
    near = mean_sq_dist(geometry.centred(x), 5)
    assert mean_sq_dist(geometry.centred(far), 5) == pytest.approx(near, rel=0.01)


def test_duplicates_lie_within_the_resolution():
    x = geometry.centred(np.repeat(cloud(50, 64), 2, axis=0))
    assert mean_sq_dist(x, 2).max() < geometry.resolution(x)
    assert geometry.resolution(np.zeros((3, 2), np.float32)) > 0


@pytest.mark.parametrize("exact_most", [1, 100_000])
@pytest.mark.parametrize("sort", [False, True])
def test_nearest_are_those_of_a_full_sort_each_row_once(monkeypatch, exact_most, sort):
    monkeypatch.setattr(geometry, "QUERIES", 17)
    monkeypatch.setattr(geometry, "POINTS", 50)
    x = clouds(600)
    x = x[x[:, 0].argsort()] if sort else x  # the first block is then the worst there is
    search = SEARCH.model_copy(update={"exact_most": exact_most, "recall": 1.0, "probes": 1000})
    near = InvertedLists.build(x, search).search(7, search)
    assert near.about["neighbours"] == ("exact" if exact_most > 1 else "inverted lists")
    seen, full = [], geometry.sq_dists(x, x)
    for rows, sq_dists, found in near.knn(7):
        seen += rows.tolist()
        for row, own, others in zip(rows, sq_dists, found, strict=True):
            assert np.sort(own) == pytest.approx(np.sort(full[row])[:7], abs=1e-4)
            assert full[row, others] == pytest.approx(own, abs=1e-4)
            assert row in others
    assert sorted(seen) == list(range(600))


def test_inverted_lists_reach_the_recall_that_is_asked_for_and_tell_it():
    x = clouds(5000, parts=5000)  # no clusters at all: the hard case
    full = mean_sq_dist(x, 10)
    before = 0.0
    for recall in (0.5, 0.8, 0.95):
        search = SEARCH.model_copy(update={"exact_most": 1000, "recall": recall, "probes": 1000})
        near = InvertedLists.build(x, search).search(10, search)
        told = near.about["recall"]
        assert recall <= told < 1
        assert near.about["lists"] == 141
        ours = {row: set(found) for rows, _, own in near.knn(10) for row, found in zip(rows, own.tolist(), strict=True)}
        true = {row: set(found) for rows, _, own in InvertedLists.build(x, SEARCH).search(10, SEARCH).knn(10)
                for row, found in zip(rows, own.tolist(), strict=True)}  # fmt: skip
        measured = np.mean([len(ours[row] & true[row]) / 10 for row in range(5000)])
        assert measured == pytest.approx(told, abs=0.02)  # a sample of 1,000 rows told
        assert told > before
        before = told
        assert (near.mean_sq_dist(10) >= full * (1 - 1e-4)).all()


def test_no_more_lists_than_probes_are_searched_and_the_recall_is_told_as_it_is():
    x = clouds(5000, parts=5000)
    search = Search(memory_mb=64, exact_most=1000, recall=1.0, probes=3)
    about = InvertedLists.build(x, search).search(10, search).about
    assert about["probes"] == 3
    assert 0.1 < about["recall"] < 0.9


def test_fewer_candidates_than_neighbours_leave_gaps_and_a_mean_of_what_is_there():
    x = clouds(2000)
    search = Search(memory_mb=64, exact_most=1000, recall=0.01, probes=1)
    near = InvertedLists.build(x, search).search(300, search)
    blocks = list(near.knn(300))
    assert any((rows == -1).any() for _, _, rows in blocks)
    assert all((np.isinf(sq_dist) == (rows == -1)).all() for _, sq_dist, rows in blocks)
    assert np.isfinite(near.mean_sq_dist(300)).all()


def test_copies_in_thousands_do_not_break_the_lists():
    x = geometry.centred(np.repeat(cloud(30, 8), 100, axis=0))
    assert mean_sq_dist(x, 50, exact_most=1000).max() < geometry.resolution(x)


def test_memory_is_bounded_where_thousands_are_equal():
    x = np.concatenate([np.zeros((8300, 4), np.float32), cloud(100, 4)])
    near = InvertedLists.build(x, SEARCH).search(20, SEARCH)
    assert peak_bytes(lambda: list(near.knn(20, np.arange(1024)))) < 90 * 2**20


def test_assigning_to_few_points_takes_no_more_memory_than_to_many():
    x = cloud(60_000, 256)
    assert peak_bytes(lambda: geometry.assign(x, x[:2])) < 40 * 2**20
