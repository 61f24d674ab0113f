"""What every entry of the table must keep, automatically."""

from pathlib import Path

import faiss
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import pipeline.select.methods
from pipeline.select import uncertainty
from pipeline.select.methods import SELECTORS
from pipeline.select.selector import Picks
from pipeline.select.taken import min_sq_dist
from pipeline.vectors import geometry, rows
from tests.pools import SEARCH, cloud, pool, selector

WITHOUT_COVER = ("random", "margin", "entropy", "badge", "dropquery")  # labelled images push nothing away
WITHOUT_CHANCE = ("margin", "entropy", "kcenter", "facility_location")  # the seed changes nothing
SAMPLING = ("uherding", "maxherding", "rdss")  # ... nor here, if there are no more images than are sampled
COPIES = ("random", "margin", "entropy")  # they look at each image alone, so copies may all be picked
UNIT_ROWS = ("facility_location", "maxherding", "probcover", "rdss", "typiclust")  # and scores by distances on them
FEW_STEPS = {"activeft": {"steps": 30, "learning_rate": 0.01}, "uslt": {"steps": 30}}
CHANGES = {  # of each parameter another value, and where the usual pool is too easy what goes with it
    "auto": [{"iterations": 1}, {"restarts": 1}, {"most_clusters": 1}],
    "kmeans": [{"iterations": 1}, {"restarts": 1}, {"spherical": False}],
    "kmedoids": [{"sample": 100}],
    "kcenter": [{"start": "random"}],
    "usl": [
        {"iterations": 1}, {"restarts": 5}, {"spherical": False}, {"neighbours": 6}, {"weight": 3.0}, {"alpha": 2.0},
        {"horizon": {"kind": "radius", "value": 0.3}}, {"horizon": {"kind": "nearest", "value": 1.0}},
        {"momentum": 0.0}, {"rounds": 1},
    ],
    "uslt": [
        {"iterations": 1}, {"restarts": 4}, {"spherical": False}, {"heads": 1}, {"neighbours": 40}, {"scale": 3.0},
        {"adjust": 0.0}, {"sharpen": 0.1}, {"confidence": 0.9}, {"weight": 5.0}, {"dropout": 0.6}, {"momentum": 0.0},
        {"learning_rate": 0.1}, {"steps": 60}, {"batch_size": 16},
    ],
    "typiclust": [
        {"iterations": 1}, {"restarts": 12}, {"spherical": False}, {"max_clusters": 5}, {"dropped": 20},
        {"neighbours": 2},
    ],
    "probcover": [
        {"iterations": 1}, {"restarts": 9}, {"spherical": False}, {"delta": 0.5}, {"purity": 0.9}, {"clusters": 40},
    ],
    "maxherding": [{"sigma": 0.2}, {"sample": 30}],
    "uherding": [{"sigma": 0.2}, {"sample": 30}],
    "rdss": [{"bandwidth": 0.2}, {"sample": 30}],
    "activeft": [{"temperature": 0.5}, {"learning_rate": 0.05}, {"steps": 200}, {"sample": 30}],
    "facility_location": [{"neighbours": 5}],
    "dropquery": [{"iterations": 1}, {"restarts": 9}, {"spherical": False}, {"masks": 1}, {"rate": 0.4}],
}  # fmt: skip
ALL = pytest.mark.parametrize("name", sorted(SELECTORS))
BUT_COPIES = pytest.mark.parametrize("name", sorted(set(SELECTORS) - set(COPIES)))


def made(name, **changes):
    """With the values of params.yaml, which are what users run, but for fewer and longer steps of training."""
    return selector(name, **{**FEW_STEPS.get(name, {}), **changes})


def check(picks, n, budget):
    assert len(picks.rows) == len(picks.scores) == budget
    assert len(set(picks.rows.tolist())) == budget
    assert picks.rows.min() >= 0
    assert picks.rows.max() < n
    assert (np.diff(picks.scores) <= 0).all()


@ALL
def test_every_budget(name):
    for budget in (1, 2, 7, 36, 37):
        check(made(name).select(pool(cloud(37)), budget, 0), 37, budget)


@ALL
def test_labelled_and_barred_rows_are_not_picked(name):
    given = pool(cloud(60), labelled=tuple(range(0, 20)), barred=tuple(range(20, 30)))
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
        alone = min_sq_dist(x, made(name).select(pool(x), 20, 1).rows, first)
        assert min_sq_dist(x, second, first).mean() > alone.mean()


@ALL
def test_the_seed_is_honoured_and_vectors_are_left_alone(name):
    x = cloud(300)
    one, again, other = (made(name).select(pool(x), 20, seed) for seed in (3, 3, 4))
    assert one.rows.tolist() == again.rows.tolist()
    assert one.scores.tobytes() == again.scores.tobytes()
    assert (one.rows.tolist() == other.rows.tolist()) == (name in (*WITHOUT_CHANCE, *SAMPLING))
    assert (x == cloud(300)).all()


@pytest.mark.parametrize("name", [*SAMPLING, "kmedoids", "activeft"])
def test_the_seed_draws_the_sample(name):
    drawn = [made(name, sample=30).select(pool(cloud(300)), 10, seed) for seed in (0, 1)]
    assert drawn[0].rows.tolist() != drawn[1].rows.tolist()
    assert 30 in drawn[0].about.values()


@BUT_COPIES
def test_copies_are_not_picked_before_all_different_images_are(name):
    noise = 1e-5 * np.random.default_rng(0).normal(size=(100, 5))  # below what counts as different
    for x in (np.repeat(cloud(20), 5, axis=0), (np.repeat(cloud(20), 5, axis=0) + noise).astype(np.float32)):
        if name in WITHOUT_COVER:  # they look at the model's features, which float32 may tell apart
            x = np.repeat(cloud(20), 5, axis=0)
            picks = made(name).select(pool(x), 30, 0)
            assert len(set((picks.rows[:20] // 5).tolist())) == 20
        else:
            picks = made(name).select(pool(x, labelled=(7,)), 30, 0)
            assert sorted(set((picks.rows[:19] // 5).tolist())) == [i for i in range(20) if i != 1]
        check(picks, 100, 30)


@BUT_COPIES
def test_many_copies(name):
    x = np.repeat(cloud(200), 10, axis=0)
    assert len(set((made(name).select(pool(x), 40, 0).rows // 10).tolist())) == 40


@ALL
@pytest.mark.parametrize("value", [0.0, 0.1])
def test_all_images_equal(name, value):
    x = np.full((25, 3), value, np.float32)
    for budget in (1, 5, 25):
        check(made(name).select(pool(x), budget, 0), 25, budget)


@ALL
def test_smallest_shapes(name):
    check(made(name).select(pool(np.ones((1, 1), np.float32)), 1, 0), 1, 1)
    check(made(name).select(pool(np.arange(12, dtype=np.float32)[:, None]), 4, 0), 12, 4)


@ALL
@pytest.mark.parametrize("n", [1023, 1024, 1025])
def test_sizes_around_a_block(name, n):
    check(made(name).select(pool(cloud(n)), 9, 0), n, 9)


@ALL
def test_the_size_of_blocks_changes_nothing(name, monkeypatch):
    given = pool(cloud(300), labelled=(3, 8), barred=(5,))
    whole = made(name).select(given, 30, 0)
    monkeypatch.setattr(geometry, "QUERIES", 7)  # blocks with a rest
    monkeypatch.setattr(geometry, "POINTS", 40)
    monkeypatch.setattr(rows, "BLOCK_NUMBERS", 32 * 7)
    monkeypatch.setattr(uncertainty, "CACHED_NUMBERS", 50)
    found = made(name).select(pool(cloud(300), labelled=(3, 8), barred=(5,)), 30, 0)
    assert sorted(found.rows.tolist()) == sorted(whole.rows.tolist())  # picks of equal gain may change places
    assert found.scores == pytest.approx(whole.scores, rel=1e-4, abs=1e-6)


@pytest.mark.slow
@ALL
def test_one_thread_gives_the_picks_of_many(name):
    x = cloud(3000, 32)
    before = faiss.omp_get_max_threads()
    found = []
    try:
        for threads in (1, 2):
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
@pytest.mark.parametrize("length", [1e-18, 9e14])
def test_rows_of_every_length_that_is_read(name, length):
    x = cloud(50) * np.float32(length)
    x[:10] = 0  # no direction at all
    check(made(name).select(pool(x), 45, 0), 50, 45)


@pytest.mark.parametrize("name", UNIT_ROWS)
def test_the_length_of_rows_does_not_matter(name):
    x = cloud(200)
    powers = np.float32(2.0) ** np.random.default_rng(0).integers(-40, 40, (200, 1)).astype(np.float32)
    plain, other = (made(name).select(pool(rows), 20, 0) for rows in (x, x * powers))
    assert plain.rows.tolist() == other.rows.tolist()


@pytest.mark.parametrize(("name", "change"), [(name, one) for name, changes in CHANGES.items() for one in changes])
def test_each_parameter_changes_something(name, change):
    chance = np.random.default_rng(5)
    given = pool((cloud(400) * chance.uniform(0.3, 3, (400, 1))).astype(np.float32))
    for seed in range(2):  # the best start of k-means or the best head may be among fewer of them
        plain, other = (made(name, **changes).select(given, 30, seed) for changes in ({}, change))
        if plain.rows.tolist() != other.rows.tolist():
            return
    pytest.fail("it changes nothing")


def test_every_parameter_is_among_those_that_change_something():
    named = {name: {key for change in changes for key in change} for name, changes in CHANGES.items()}
    assert {name: set(one.model_fields) for name, one in SELECTORS.items() if one.model_fields} == named


def test_every_file_of_methods_is_an_entry_of_the_table():
    folder = Path(pipeline.select.methods.__file__).parent
    files = {file.stem: f"pipeline.select.methods.{file.stem}" for file in folder.glob("[a-z]*.py")}
    assert files == {name: one.__module__ for name, one in SELECTORS.items()}


def test_picks_refuse_a_row_twice_a_rising_score_and_a_score_that_is_none():
    with pytest.raises(AssertionError, match="picked a row twice"):
        Picks(np.array([4, 4]), np.array([1.0, 1.0]))
    with pytest.raises(AssertionError, match="not best first"):
        Picks(np.array([4, 2]), np.array([1.0, 2.0]))
    with pytest.raises(AssertionError, match="is no number"):
        Picks(np.array([4, 2]), np.array([np.inf, 2.0]))
