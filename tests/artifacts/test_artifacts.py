"""What the files between stages refuse, word for word."""

import numpy as np
import pytest

from pipeline.artifacts.labels import Classes, Labels
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.predictions import PseudoLabels, Ranking, top
from pipeline.artifacts.shards import Index
from tests.refusals import refusal_of


def test_picks_come_back_as_they_were_or_are_refused(tmp_path):
    file = tmp_path / "picks.csv"
    Selection(["b", "a"], np.array([2.0, -1.5e-3])).write(file)
    found = Selection.read(file)
    assert found.keys == ["b", "a"]
    assert found.scores.tolist() == [2.0, -1.5e-3]
    file.write_text("rank,key,score\n0,b,1\n1,a,1\n2,b,0\n")
    assert refusal_of(Selection.read, file) == "picks.csv: key b: expected each key once, got it twice"
    file.write_text("rank,key,score\n0,b,high\n")
    assert refusal_of(Selection.read, file) == f"{file}: expected a number, got 'high'"


def test_the_most_probable_classes_come_back_in_their_order_equal_ones_in_that_of_the_classes(tmp_path):
    file, p = tmp_path / "pseudo_labels.csv", np.array([[0.1, 0.4, 0.1, 0.4], [0.7, 0.1, 0.2, 0.0]], np.float32)
    ranking = Ranking.of(*top(p), ["a", "b", "c", "d"])
    assert ranking.names == [["b", "d", "a"], ["a", "c", "b"]]
    PseudoLabels(["x", "y", "z"], Ranking([*ranking.names, []], np.vstack([ranking.p, np.zeros((1, 3))]))).write(file)
    found = PseudoLabels.read(file)
    assert (found.keys, found.ranking.names, found.ranking.best) == (
        ["x", "y", "z"], [*ranking.names, []], ["b", "a", ""]
    )  # fmt: skip
    assert np.array_equal(found.ranking.p[:2].astype(np.float32), ranking.p.astype(np.float32))
    assert found.ranking.confidence[2] == 0
    old = "key,prediction,confidence\nx,b,0.5\n"
    file.write_text(old)
    assert PseudoLabels.read(file).ranking.best == ["b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"label": "cat"}', "label: expected a list of names, got 'cat'"),
        ('{"label": ["cat"], "coarse": [1]}', "coarse: expected a list of names, got 1"),
        ('{"label": [null]}', "label: expected a list of names, got None"),
        ('{"label": null}', "label: expected a list of names, got None"),
    ],
)
def test_classes_that_are_no_lists_of_names_are_refused(tmp_path, text, message):
    file = tmp_path / "classes.json"
    file.write_text(text)
    assert refusal_of(Classes.read, file) == f"{file}: {message}"


@pytest.mark.parametrize("level", ["knn", "linear", "probe", "random_probe"])
def test_a_level_with_the_name_of_another_metric_is_refused(level):
    says = f"labels: expected a level of another name than knn, linear, probe, random_probe, got {level!r}"
    assert refusal_of(Labels, ["label", level], {}) == says


def index(key, split=None, shard=None):
    n = len(key)
    return Index(key, split or ["train"] * n, shard or ["a.tar"] * n, np.arange(n), np.arange(n) + 5)


def test_an_index_comes_back_as_it_was_whole_or_one_split(tmp_path):
    written = index(["a", "b", "c", "d"], ["train", "test", "train", "train"], ["2.tar", "1.tar", "1.tar", "2.tar"])
    written.write(tmp_path / "index.parquet")
    found, test = Index.read(tmp_path / "index.parquet"), Index.read(tmp_path / "index.parquet", "test")
    for name in ("key", "split", "shard", "offset", "size"):
        assert list(getattr(found, name)) == list(getattr(written, name))
    assert (list(test.key), list(test.shard), test.offset.tolist(), test.size.tolist()) == (["b"], ["1.tar"], [1], [6])
    assert len(Index.read(tmp_path / "index.parquet", "val").key) == 0
    assert [found.shard[0], found.key[np.int64(3)], *found.key[1:3]] == ["2.tar", "d", "b", "c"]
    found.write(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "index.parquet").read_bytes()


def test_rows_of_a_split_and_of_a_shard_of_it():
    chance = np.random.default_rng(0)
    split, shard = (chance.choice(names, 300).tolist() for names in (["train", "test"], ["b.tar", "c.tar", "a.tar"]))
    whole = index([f"{i:03d}" for i in range(300)], split, shard)
    for name in ("train", "test", "val"):
        assert whole.rows(name).tolist() == [i for i in range(300) if split[i] == name]
        for tar in ("a.tar", "b.tar", "c.tar", "d.tar"):
            own = [i for i in range(300) if (split[i], shard[i]) == (name, tar)]
            assert whole.rows(name, tar).tolist() == own
            assert whole.keys_of(whole.rows(name, tar)) == [f"{i:03d}" for i in own]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 300])
def test_keys_become_rows_and_rows_keys(count):
    keys = [f"{2 * i:03d}ü" for i in range(count)]
    whole, order = index(keys), np.random.default_rng(0).integers(0, max(count, 1), 2 * count).tolist()
    assert whole.rows_of([keys[i] for i in order], "x.csv").tolist() == order
    assert whole.keys_of(np.array(order, np.int64)) == [keys[i] for i in order]
    for stranger in ("", "000", "001ü", "0020ü", "999ü"):
        says = f"x.csv: key {stranger}: expected a training image, found none of that key"
        assert refusal_of(whole.rows_of, [*keys, stranger, "zzz"], "x.csv") == says


@pytest.mark.parametrize("keys", [["a", "b", "b"], ["a", "c", "b"]])
def test_an_index_whose_keys_are_not_sorted_and_unique_is_refused(keys):
    says = f"index.parquet: expected keys that are sorted and unique, got {keys[1]} before {keys[2]}"
    assert refusal_of(index, keys) == says
