from itertools import combinations

import numpy as np
import pytest

from pipeline.base.errors import ParamsError
from pipeline.select.methods.facility_location import FacilityLocation, Graph
from pipeline.select.neighbours import Search
from tests.oracles import facility_location as oracle
from tests.pools import cloud, pool


def made(neighbours):
    return FacilityLocation(neighbours=neighbours)


@pytest.mark.parametrize(("labelled", "barred"), [((), ()), ((3, 30), ()), ((3, 30), tuple(range(10, 25)))])
@pytest.mark.parametrize("neighbours", [4, 12, 99])
def test_picks_are_those_of_a_loop(labelled, barred, neighbours):
    for seed in range(2):
        x = cloud(50, seed=seed)
        sim = oracle.similarities(x, neighbours)
        expected = oracle.picks(sim, labelled, barred, 8)
        picks = made(neighbours).select(pool(x, labelled, barred), 8, 0)
        assert picks.rows.tolist() == expected
        total = oracle.value(sim, [*labelled, *expected])
        assert picks.about["mean_similarity"] == pytest.approx(total / 50, abs=1e-5)
        assert picks.scores.sum() * 50 == pytest.approx(total - oracle.value(sim, labelled), abs=1e-3)


def test_it_reaches_almost_what_the_best_picks_could():
    for seed in range(5):
        x = cloud(14, 3, seed)
        sim = oracle.similarities(x, 6)
        best = max(oracle.value(sim, chosen) for chosen in combinations(range(14), 3))
        assert oracle.value(sim, made(6).select(pool(x), 3, 0).rows) >= (1 - 1 / np.e) * best


def test_copies_come_last_though_a_graph_of_few_neighbours_does_not_join_them_all():
    x = np.repeat(cloud(6), 9, axis=0) + np.float32(1e-4) * cloud(54, 5, 1)
    picks = made(3).select(pool(x, labelled=(0,)), 20, 0)
    assert sorted((picks.rows[:5] // 9).tolist()) == [1, 2, 3, 4, 5]
    assert picks.about["gained_by"] == 5
    assert picks.scores[5:].tolist() == [0] * 15


def test_the_graph_lists_for_each_row_whom_it_serves():
    x = cloud(40)
    graph, sim = Graph.build(pool(x).space, 5), oracle.similarities(x, 5)
    for row in range(40):
        own = slice(*graph.starts[row : row + 2])
        assert graph.image[own].tolist() == [i for i in range(40) if sq_near(x, i, row, 5)]
        assert graph.sim[own] == pytest.approx(np.array([sim[i][row] for i in graph.image[own]]), abs=1e-5)


def sq_near(x, i, row, k):
    gaps = ((x - x[i]) ** 2).sum(axis=1)
    return gaps[row] <= np.sort(gaps)[k - 1]


def test_missing_neighbours_are_left_out():
    few = Search(memory_mb=64, exact_most=10, recall=0.1, probes=1)
    graph = Graph.build(pool(cloud(300), search=few).space, 60)  # more than near lists hold
    assert graph.starts[-1] == len(graph.image) == len(graph.sim) < 300 * 60
    picks = made(60).select(pool(cloud(300), search=few), 10, 0)
    assert picks.about["neighbours"] == "inverted lists"
    assert len(set(picks.rows.tolist())) == 10


def test_a_graph_that_does_not_fit_is_refused():
    search = Search(memory_mb=64, exact_most=100_000, recall=1.0, probes=1)
    with pytest.raises(ParamsError) as refusal:
        made(3000).select(pool(cloud(3000), search=search), 1, 0)
    assert str(refusal.value) == (
        "select.facility_location.neighbours: expected for 3000 images at most 932, "
        "whose graph fits select.search.memory_mb, got 3000"
    )


def test_length_of_the_rows_does_not_matter():
    x = cloud(200)
    scaled = x * np.float32(2.0) ** np.random.default_rng(0).integers(-40, 40, (200, 1)).astype(np.float32)
    assert made(10).select(pool(scaled), 20, 0).rows.tolist() == made(10).select(pool(x), 20, 0).rows.tolist()


def test_neighbours_change_something():
    given = pool(cloud(300))
    assert made(5).select(given, 20, 0).rows.tolist() != made(50).select(given, 20, 0).rows.tolist()
