import numpy as np
import pytest

from pipeline.select.methods.probcover import count_within, cover, pure_radius
from pipeline.vectors.neighbours import Search
from tests.oracles import probcover as oracle
from tests.pools import LABELLED_AND_BARRED, cloud, pool, selector

EVERY_LIST = Search(memory_mb=64, exact_most=200, recall=1.0, probes=1000)


def made(**values):
    return selector("probcover", **{"purity": 0.95, "clusters": 5, **values})


@pytest.mark.parametrize(("labelled", "barred"), LABELLED_AND_BARRED)
@pytest.mark.parametrize("delta", [0.3, 0.7, 1.1])
def test_picks_are_those_of_the_paper_in_loops(labelled, barred, delta):
    for seed in range(3):
        x = cloud(60, seed=seed)
        expected, gains = oracle.picks(x, labelled, barred, 25, delta)
        picks = made(delta=delta).select(pool(x, labelled, barred), 25, 0)
        assert picks.rows.tolist() == expected
        first = next((i for i in range(1, 25) if picks.scores[i] < 0), 25)
        assert (picks.scores[:first] * 60).tolist() == pytest.approx(gains[:first])
        assert (
            picks.about["covered"] == len(set().union(*(oracle.ball(x, i, delta) for i in [*labelled, *expected]))) / 60
        )


@pytest.mark.parametrize("purity", [0.5, 0.8, 0.95, 1.0])
def test_the_radius_is_the_largest_of_that_purity(purity):
    x, cluster = cloud(60), np.arange(60) % 3
    x[cluster == 0, 0] += 2  # or all clusters are one
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    given = pool(x)
    sq_delta, reached = pure_radius(given.space.neighbours(1), cluster, np.arange(60), purity)
    assert reached >= purity
    assert reached == oracle.pure_share(x, cluster, sq_delta**0.5 - 1e-4)
    assert oracle.pure_share(x, cluster, sq_delta**0.5 + 1e-4) < purity


def test_one_cluster_gives_the_whole_sphere():
    picks = made(clusters=1).select(pool(cloud(50)), 1, 0)
    assert (picks.about["delta"], picks.about["purity"]) == (2, 1)


def test_the_radius_is_halved_where_nothing_is_left_to_cover():
    x = np.concatenate([cloud(30, 3) * 0.05 + np.eye(3, dtype=np.float32)[i] for i in range(2)]).astype(np.float32)
    picks = made(delta=0.7).select(pool(x), 12, 0)
    assert set((picks.rows[:2] // 30).tolist()) == {0, 1}
    assert picks.scores[1] == 0.5
    assert picks.scores[2] < 0
    assert picks.about["halved"] >= 1
    assert picks.about["covered"] == 1


def test_all_near_lists_give_the_exact_picks():
    x = cloud(600, 4)
    exact, lists = (made(delta=0.4).select(given, 60, 0) for given in (pool(x), pool(x, search=EVERY_LIST)))
    assert lists.about["neighbours"] == "inverted lists"
    assert lists.about["edges_found"] == 1
    assert lists.rows.tolist() == exact.rows.tolist()


def test_some_near_lists_cover_almost_as_much():
    x = cloud(3000, 6)
    few = Search(memory_mb=64, exact_most=200, recall=0.9, probes=1000)
    exact, lists = (made(delta=0.3).select(given, 60, 0).about for given in (pool(x), pool(x, search=few)))
    assert lists["probes"] < lists["lists"] / 2
    assert 0.7 < lists["edges_found"] < 1
    assert 0.9 * exact["covered"] < lists["covered"] < exact["covered"]


def test_counts_stay_exact_while_near_lists_are_not_symmetric():
    few = Search(memory_mb=64, exact_most=200, recall=1.0, probes=3)
    given = pool(cloud(800, 6), search=few)
    search = given.space.neighbours(20)
    assert search.probed.shape[1] == 3
    _, scores, _, covered = cover(given, search, 0.09, 50)
    assert sum(scores) == pytest.approx(covered)  # each score is what its pick covered, and nothing twice
    assert count_within(search, np.arange(800), 0.09).max() == scores[0] * 800


def test_more_than_a_byte_of_images_in_a_block_are_counted():
    given = pool(np.ones((600, 2), np.float32))
    assert count_within(given.space.neighbours(1), np.arange(600), 1.0).tolist() == [600] * 600


def test_a_radius_below_the_resolution_counts_as_it():
    given = pool(np.repeat(cloud(5), [1, 2, 3, 4, 5], axis=0))
    picks = made(delta=1e-9).select(given, 6, 0)
    assert (picks.scores[:5] * 15).tolist() == pytest.approx([5, 4, 3, 2, 1])
    assert picks.about["delta"] == given.space.copy_sq_dist**0.5
    assert picks.about["covered"] == 1
