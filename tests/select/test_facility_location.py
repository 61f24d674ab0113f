import numpy as np
import pytest

from pipeline.base.errors import ParamsError
from pipeline.select.methods.facility_location import Graph
from pipeline.vectors.neighbours import Search
from tests.oracles import facility_location as oracle
from tests.pools import LABELLED_AND_BARRED, cloud, pool, selector
from tests.refusals import refusal_of


def made(neighbours):
    return selector("facility_location", neighbours=neighbours)


@pytest.mark.parametrize(("labelled", "barred"), LABELLED_AND_BARRED)
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


def test_copies_come_last_though_a_graph_of_few_neighbours_does_not_join_them_all():
    x = np.repeat(cloud(6), 9, axis=0) + np.float32(1e-4) * cloud(54, 5, 1)
    picks = made(3).select(pool(x, labelled=(0,)), 20, 0)
    assert sorted((picks.rows[:5] // 9).tolist()) == [1, 2, 3, 4, 5]
    assert picks.about["gained_by"] == 5
    assert picks.scores[5:].tolist() == [0] * 15


def test_missing_neighbours_are_left_out():
    few = Search(memory_mb=64, exact_most=10, recall=0.1, probes=1)
    graph = Graph.build(pool(cloud(300), search=few).space, 60)  # more than near lists hold
    assert graph.starts[-1] == len(graph.image) == len(graph.sim) < 300 * 60
    picks = made(60).select(pool(cloud(300), search=few), 10, 0)
    assert picks.about["neighbours"] == "inverted lists"
    assert len(set(picks.rows.tolist())) == 10


def test_a_graph_that_does_not_fit_is_refused():
    search = Search(memory_mb=64, exact_most=100_000, recall=1.0, probes=1)
    says = "select.facility_location.neighbours: expected for 3000 images at most 932, "
    says += "whose graph fits select.search.memory_mb, got 3000"
    assert refusal_of(made(3000).select, pool(cloud(3000), search=search), 1, 0, kind=ParamsError) == says
