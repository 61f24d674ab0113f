"""What every entry of the table must keep, automatically."""

import ast
from pathlib import Path

import faiss
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import pipeline.select
from pipeline.base.params import Params
from pipeline.select.methods import SELECTORS
from pipeline.select.selector import Picks, nearest_of
from tests.pools import SEARCH, cloud, pool

WITHOUT_COVER = ("random", "margin", "entropy", "badge", "dropquery")  # labelled images push nothing away
WITHOUT_CHANCE = ("margin", "entropy", "kcenter", "facility_location")  # the seed changes nothing
WITHOUT_SAMPLING = ("uherding", "maxherding", "rdss")  # ... where there are no more images than are sampled
COPIES = ("random", "margin", "entropy")  # they look at each image alone, so copies may all be picked
PARAMS = Params.read(Path(__file__).parents[2] / "params.yaml")
ALL = pytest.mark.parametrize("name", sorted(SELECTORS))


def made(name):
    """The selector with the values of params.yaml: the defaults are what users run."""
    return PARAMS.block(f"select.{name}", SELECTORS[name])


def check(picks, n, budget):
    assert len(picks.rows) == len(picks.scores) == budget
    assert len(set(picks.rows.tolist())) == budget
    assert picks.rows.min() >= 0
    assert picks.rows.max() < n
    assert (np.diff(picks.scores) <= 0).all()


@ALL
def test_every_budget(name):
    x = cloud(37)
    for budget in (1, 2, 7, 36, 37):
        check(made(name).select(pool(x), budget, 0), 37, budget)


@ALL
def test_labelled_and_barred_rows_are_not_picked(name):
    x = cloud(60)
    given = pool(x, labelled=tuple(range(0, 20)), barred=tuple(range(20, 30)))
    for budget in (1, 10, 30):
        picks = made(name).select(given, budget, 0)
        check(picks, 60, budget)
        assert picks.rows.min() >= 30


@ALL
def test_a_second_round_keeps_away_from_the_first(name):
    x = cloud(400, 4)
    first = made(name).select(pool(x), 20, 0).rows
    second = made(name).select(pool(x, labelled=tuple(first)), 20, 1).rows
    assert not set(first.tolist()) & set(second.tolist())
    if name not in WITHOUT_COVER:
        gap = nearest_of(x, second, first)
        alone = nearest_of(x, made(name).select(pool(x), 20, 1).rows, first)
        assert gap.mean() > alone.mean()


@ALL
def test_the_seed_is_honoured(name):
    x = cloud(300)
    one, again, other = (made(name).select(pool(x), 20, seed) for seed in (3, 3, 4))
    assert one.rows.tolist() == again.rows.tolist()
    assert one.scores.tobytes() == again.scores.tobytes()
    alike = name in (*WITHOUT_CHANCE, *WITHOUT_SAMPLING)
    assert (one.rows.tolist() == other.rows.tolist()) == alike


@ALL
def test_duplicates(name):
    x = np.repeat(cloud(200), 10, axis=0)
    picks = made(name).select(pool(x), 40, 0)
    check(picks, 2000, 40)
    if name not in COPIES:
        assert len(set((picks.rows // 10).tolist())) == 40  # never two copies of one image


@ALL
@pytest.mark.parametrize("value", [0.0, 0.1])
def test_all_images_equal(name, value):
    x = np.full((25, 3), value, np.float32)
    for budget in (1, 5, 25):
        check(made(name).select(pool(x), budget, 0), 25, budget)


@ALL
def test_more_picks_than_different_images(name):
    x = np.repeat(cloud(3), 6, axis=0)
    picks = made(name).select(pool(x), 10, 0)
    check(picks, 18, 10)
    if name not in COPIES:
        assert len(set((picks.rows[:3] // 6).tolist())) == 3  # each different image once, before any copy


@ALL
def test_smallest_shapes(name):
    check(made(name).select(pool(np.ones((1, 1), np.float32)), 1, 0), 1, 1)
    check(made(name).select(pool(np.arange(12, dtype=np.float32)[:, None]), 4, 0), 12, 4)


@ALL
@pytest.mark.parametrize("n", [1023, 1024, 1025])
def test_sizes_around_a_block(name, n):
    check(made(name).select(pool(cloud(n)), 9, 0), n, 9)


@ALL
def test_one_thread_gives_the_picks_of_many(name):
    x = cloud(3000, 32)
    before = faiss.omp_get_max_threads()
    found = []
    try:
        for threads in (1, 4):
            faiss.omp_set_num_threads(threads)
            with threadpool_limits(threads):
                found.append(made(name).select(pool(x), 30, 0))
    finally:
        faiss.omp_set_num_threads(before)
    assert found[0].rows.tolist() == found[1].rows.tolist()
    assert found[0].scores == pytest.approx(found[1].scores, rel=1e-6)


@ALL
@pytest.mark.parametrize("n", [1, 2, 5, 50])
def test_inverted_lists_of_very_few_images(name, n):
    search = SEARCH.model_copy(update={"exact_most": 1, "probes": 1, "recall": 1.0})
    for x in (cloud(n), np.ones((n, 2), np.float32)):
        for budget in (1, n):
            check(made(name).select(pool(x, search=search), budget, 0), n, budget)


@ALL
def test_vectors_are_left_alone(name):
    x = cloud(100)
    before = x.copy()
    made(name).select(pool(x), 5, 0)
    assert (x == before).all()


def test_every_file_of_the_folder_that_holds_a_selector_is_in_the_table():
    folder = Path(pipeline.select.__file__).parent
    files = {file.stem for file in folder.glob("*.py") if "Selector):" in file.read_text()}
    assert {f"pipeline.select.{name}" for name in files} == {made.__module__ for made in SELECTORS.values()}


def test_nothing_here_can_reach_a_label():
    for file in Path(pipeline.select.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom | ast.Import):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                assert not any(
                    name.startswith(("pipeline.artifacts", "pipeline.base.files", "pipeline.shards")) for name in names
                )


def test_picks_refuse_a_row_twice_a_rising_score_and_a_score_that_is_none():
    rows = np.array([4, 2])
    with pytest.raises(AssertionError, match="picked a row twice"):
        Picks(np.array([4, 4]), np.array([1.0, 1.0]))
    with pytest.raises(AssertionError, match="not best first"):
        Picks(rows, np.array([1.0, 2.0]))
    with pytest.raises(AssertionError, match="is no number"):
        Picks(rows, np.array([np.inf, 2.0]))
