import numpy as np
import pytest

from pipeline.select.methods.typiclust import in_turns, most_typical
from pipeline.vectors.neighbours import Search
from tests.oracles import typiclust as oracle
from tests.pools import cloud, pool, selector

LABELLED, BARRED = tuple(range(0, 60, 7)), tuple(range(1, 60, 5))


def made(**values):
    return selector("typiclust", **values)


def uneven(n, seed=0):
    """Clusters of quite different sizes, one of them of two images."""
    cluster = np.searchsorted([0.4, 0.6, 0.75, 0.9], np.linspace(0, 1, n - 2)).tolist()
    return np.random.default_rng(seed).permutation([*cluster, 5, 5])


@pytest.mark.parametrize(("labelled", "barred"), [((), ()), (LABELLED, ()), (LABELLED, BARRED)])
@pytest.mark.parametrize("neighbours", [2, 4, 20])  # by 1 neighbour the two of a pair tie
def test_picks_are_those_of_the_paper_in_loops(labelled, barred, neighbours):
    for seed in range(3):
        x, cluster = cloud(60, seed=seed), uneven(60, seed)
        expected = oracle.picks(x, cluster.tolist(), labelled, barred, 20, neighbours, 5)
        rows, scores, about = in_turns(pool(x, labelled, barred), cluster, 20, made(neighbours=neighbours))
        assert rows.tolist() == expected
        assert scores == sorted(scores, reverse=True)
        assert about == {"neighbours": "exact"}


def test_each_cluster_gives_one_before_any_gives_two_the_largest_first():
    cluster = np.repeat([0, 1, 2], [10, 30, 20])
    rows, scores, _ = in_turns(pool(cloud(60), labelled=(15,)), cluster, 6, made())
    assert cluster[rows].tolist() == [2, 0, 1, 2, 0, 1]
    assert scores == pytest.approx([20 / 60, 10 / 60, 0.5 - 1, 20 / 60 - 1, 10 / 60 - 1, 0.5 - 2])


def test_small_clusters_give_nothing_unless_there_are_no_others():
    x, cluster = cloud(16), np.repeat([0, 1, 2, 3], [10, 2, 2, 2])
    rows, _, _ = in_turns(pool(x), cluster, 14, made())
    assert sorted(rows.tolist()) == list(range(10))
    rows, _, _ = in_turns(pool(x, barred=tuple(range(10))), cluster, 3, made())
    assert sorted(rows // 2) == [5, 6, 7]


def test_copies_are_passed_over_even_when_they_are_in_another_cluster():
    x = np.repeat(cloud(8), 5, axis=0)
    rows, _, _ = in_turns(pool(x, labelled=(0,)), np.arange(40) % 3, 40, made(dropped=0))
    assert sorted((rows // 5).tolist()) == list(range(1, 8))


def test_all_free_images_may_be_copies_of_labelled_ones():
    picks = made().select(pool(np.ones((6, 2), np.float32), labelled=(2,)), 4, 0)
    assert picks.rows.tolist() == [0, 1, 3, 4]
    assert picks.scores.tolist() == [0] * 4


def test_near_lists_find_the_most_typical_of_a_large_cluster():
    x = cloud(3000, 4)
    exact, _ = most_typical(pool(x).space, np.arange(3000), 10)
    search = Search(memory_mb=64, exact_most=500, recall=0.95, probes=64)
    found, about = most_typical(pool(x, search=search).space, np.arange(3000), 10)
    assert about["recall"] >= 0.95
    assert np.corrcoef(exact.argsort(), found.argsort())[0, 1] > 0.95  # of the ranks
    assert found[0] in exact[:30]
