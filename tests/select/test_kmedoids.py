import numpy as np
import pytest

from pipeline.select.methods.kmedoids import KMedoids, distances, medoids
from pipeline.select.taken import min_sq_dist
from pipeline.vectors.geometry import centred
from pipeline.vectors.neighbours import Search
from tests.oracles import kmedoids as oracle
from tests.pools import cloud, pool

MANY = KMedoids(sample=8000)


def loss(x, rows):
    """Mean distance of all images to the nearest of the rows."""
    return np.sqrt(min_sq_dist(centred(x), np.arange(len(x)), rows)).mean()


@pytest.mark.parametrize("k", [1, 2, 3, 7, 30])
def test_medoids_are_those_of_swaps_in_loops(k):
    for seed in range(3):
        distance = distances(centred(cloud(30, seed=seed)), 0.0)
        found = medoids(distance, k)
        if k > 1:
            assert found.tolist() == oracle.medoids(distance.tolist(), k)
        else:
            assert oracle.total(distance.tolist(), found) == pytest.approx(distance.sum(axis=1).min(), rel=1e-5)


def test_a_sample_is_almost_as_good_as_all():
    """The gap of the approximation, at a size where both run: at most 4 % of the mean distance."""
    x = np.concatenate([0.3 * cloud(200, 6, seed) + cloud(1, 6, 100 + seed) for seed in range(10)])
    exact, few, random = [], [], []
    for seed in range(3):
        exact.append(loss(x, MANY.select(pool(x), 20, seed).rows))
        few.append(loss(x, KMedoids(sample=400).select(pool(x), 20, seed).rows))
        random.append(loss(x, np.random.default_rng(seed).choice(2000, 20, replace=False)))
    assert np.mean(few) < 1.04 * np.mean(exact)
    assert np.mean(random) > 1.15 * np.mean(exact)


def test_a_cluster_with_a_labelled_image_gives_no_pick_though_it_would_cover_most():
    axes = np.eye(20, dtype=np.float32)
    wide = np.concatenate([axes, -axes, np.zeros((1, 20), np.float32)])  # its middle is as far from each of the rest
    tight = cloud(3, 20) * np.float32(0.01)
    x = np.concatenate([wide, tight + 3.5 * axes[0], tight + 3.5 * axes[1]])
    rows = MANY.select(pool(x, labelled=(20,)), 2, 0).rows
    assert sorted(((rows - 41) // 3).tolist()) == [0, 1]


def test_a_barred_medoid_leaves_its_place_to_the_nearest_free_image():
    x = np.array([[0, 0], [1, 0], [0, 3], [-3, 0], [0, -4]], np.float32)  # row 0 is in the middle
    assert MANY.select(pool(x), 1, 0).rows.tolist() == [0]
    assert MANY.select(pool(x, barred=(0,)), 1, 0).rows.tolist() == [1]


def test_the_sample_keeps_to_its_memory():
    assert MANY.select(pool(cloud(50)), 3, 0).about["sample"] == 50
    search = Search(memory_mb=64, exact_most=1000, recall=1.0, probes=1)
    assert KMedoids(sample=10**6).select(pool(cloud(3000, 2), search=search), 1, 0).about["sample"] == 2896  # 32 MB


def test_more_picks_than_the_sample_are_filled_up():
    picks = KMedoids(sample=5).select(pool(cloud(40)), 12, 0)
    assert len(set(picks.rows.tolist())) == 12
    assert picks.scores[4] > 0
    assert picks.scores[5:].tolist() == [0] * 7


def test_copies_are_at_0():
    x = centred(np.repeat(cloud(50, 64), 2, axis=0))
    assert (distances(x, 1e-6)[::2, 1::2].diagonal() == 0).all()
