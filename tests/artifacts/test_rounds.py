"""Rounds of labelling: what is kept, what is read back, and each refusal."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.model import Weights
from pipeline.artifacts.model_outputs import ModelOutputs, new_classes
from pipeline.artifacts.predictions import PseudoLabels, Ranking
from pipeline.artifacts.rounds import joined, labelled_keys, read_rounds, round_to_keep
from pipeline.artifacts.skipped import Skipped
from tests.refusals import refusal_of as refusal

ROUNDS = Path("data/rounds")
pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ROUNDS.mkdir(parents=True)
    (ROUNDS / ".gitkeep").touch()


def labels(**rows):
    return Labels(["label"], {key: [name] for key, name in rows.items()})


def keep_round(folder, given, picks):
    file, new = round_to_keep(folder, given, picks, "dvc repro")
    new.write(file)
    return file


def test_each_round_keeps_the_labels_that_are_new():
    assert labelled_keys(ROUNDS) == []
    assert read_rounds(ROUNDS).rows == {}
    assert keep_round(ROUNDS, labels(b="dog", a="cat"), ["b", "d"]) == ROUNDS / "00/labels.csv"  # a is no pick
    assert keep_round(ROUNDS, labels(a="cat", b="dog", c="cat"), ["c", "a"]) == ROUNDS / "01/labels.csv"
    assert (ROUNDS / "00/labels.csv").read_text() == "key,label\na,cat\nb,dog\n"
    assert (ROUNDS / "01/labels.csv").read_text() == "key,label\nc,cat\n"
    assert labelled_keys(ROUNDS) == ["a", "b", "c"]
    assert read_rounds(ROUNDS).rows == {"a": ["cat"], "b": ["dog"], "c": ["cat"]}


def test_a_coarse_label_is_a_label():
    """It is kept, and its image is not picked again."""
    given = Labels(["label", "coarse"], {"a": ["cat", "pet"], "b": ["", "pet"]})
    assert keep_round(ROUNDS, given, ["a", "b"]) == ROUNDS / "00/labels.csv"
    assert (ROUNDS / "00/labels.csv").read_text() == "key,label,coarse\na,cat,pet\nb,,pet\n"
    assert labelled_keys(ROUNDS) == ["a", "b"]
    both = joined(labels(c="dog"), read_rounds(ROUNDS), levels=["label", "coarse"])
    assert both.rows == {"c": ["dog", ""], "a": ["cat", "pet"], "b": ["", "pet"]}
    assert joined(labels(b="dog"), read_rounds(ROUNDS)).rows["b"] == ["dog", "pet"]


def test_a_round_that_a_person_took_away_is_not_written_over():
    keep_round(ROUNDS, labels(a="cat"), ["a"])
    keep_round(ROUNDS, labels(a="cat", b="dog"), ["b"])
    (ROUNDS / "00/labels.csv").unlink()
    (ROUNDS / "00").rmdir()
    assert keep_round(ROUNDS, labels(c="cat"), ["c"]) == ROUNDS / "02/labels.csv"


def test_there_must_be_new_picks_and_one_of_them_labelled():
    says = "data/rounds: expected a label for one pick at least, got none for 2"
    assert refusal(keep_round, ROUNDS, labels(a="cat", c=""), ["b", "c"]) == says
    assert labelled_keys(ROUNDS) == []
    keep_round(ROUNDS, labels(a="cat", c=""), ["a", "b", "c"])
    assert labelled_keys(ROUNDS) == ["a"]
    says = "data/rounds: expected picks that no round holds, got 1 that are kept already; `dvc repro` chooses others"
    assert refusal(keep_round, ROUNDS, labels(a="cat"), ["a"]) == says


def test_skipped_picks_lie_beside_the_rounds_request_by_request():
    assert Skipped.read(ROUNDS).keys == []
    Skipped.read(ROUNDS).and_({"a": "skipped", "b": "not usable"}, 0).write(ROUNDS)
    Skipped.read(ROUNDS).and_({"b": "skipped", "c": "skipped"}, 1).write(ROUNDS)
    found = Skipped.read(ROUNDS)
    assert (found.keys, found.why) == (["a", "b", "c"], ["skipped", "not usable", "skipped"])
    assert (found.round, found.request) == ([0, 0, 1], [0, 0, 1])
    assert labelled_keys(ROUNDS) == []
    for row, says in (("d,skipped,0,x", "key d: expected two numbers, got 0,x"), ("a,skipped,0,1", "key a: expected")):
        (ROUNDS / "skipped.csv").write_text(f"key,why,round,request\na,skipped,0,0\n{row}\n")
        assert says in refusal(Skipped.read, ROUNDS)


def test_a_csv_in_place_of_rounds():
    Path("mine.csv").write_text("label,key\ncat, a \ndog,b\n")
    assert labelled_keys(Path("mine.csv")) == ["a", "b"]
    Path("mine.csv").write_text("label,name\ncat,a\n")
    assert refusal(labelled_keys, Path("mine.csv")) == "mine.csv: expected the column key, got label,name"
    says = "none: expected a folder of rounds or a CSV with the column key, found none"
    assert refusal(labelled_keys, Path("none")) == says


def test_an_image_of_two_rounds_is_refused():
    for name in ("00", "01"):
        labels(a="cat").write(ROUNDS / name / "labels.csv")
    says = "data/rounds/01/labels.csv: key a: expected an image in one round, got it in data/rounds/00/labels.csv too"
    assert refusal(labelled_keys, ROUNDS) == says


def test_tables_with_other_levels_are_joined():
    both = joined(Labels(["label", "kind"], {"a": ["cat", "pet"]}), Labels(["label"], {"b": ["oak"]}))
    assert both == Labels(["label", "kind"], {"a": ["cat", "pet"], "b": ["oak", ""]})
    assert joined() == Labels(["label"], {})


def test_outputs_come_back_and_belong_to_their_images():
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    made = ModelOutputs(Embeddings(["a", "b", "c"], x), np.ones((4, 2), np.float32), np.zeros(4, np.float32))
    made.write(ROUNDS / "outputs")
    back = ModelOutputs.read(ROUNDS / "outputs", ["a", "b", "c"])
    assert back.features.vectors.tolist() == x.tolist()
    assert (back.weight.tolist(), back.bias.tolist()) == (made.weight.tolist(), made.bias.tolist())
    assert labelled_keys(ROUNDS) == []  # no round
    assert ModelOutputs.read(ROUNDS / "none", ["a"]) is None
    says = (
        "data/rounds/outputs: expected features of the 2 images to select from, got 3 of others; set select.method "
        "to auto for this round"
    )
    assert refusal(ModelOutputs.read, ROUNDS / "outputs", ["a", "b"]) == says


def test_classes_that_a_model_found_have_their_images_the_surest_first():
    x, folder = np.ones((4, 2), np.float32), ROUNDS / "outputs"
    assert new_classes(folder) == []
    for found, expected in ((["new 2", "new 1"], [["c"], ["d", "a"]]), ([], []), (["new 3"], [[]])):
        ModelOutputs(Embeddings(["a", "b", "c", "d"], x), x, np.zeros(4, np.float32), found).write(folder)
        assert new_classes(folder) in ([], expected)  # without predictions none
        names = [["new 1"], ["cat"], ["new 2"], ["new 1"]]
        PseudoLabels(["a", "b", "c", "d"], Ranking(names, np.array([[0.5], [0.9], [0.7], [0.6]]))).write(
            folder / "pseudo_labels.csv"
        )
        assert new_classes(folder) == expected


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ({}, "expected weight of shape (c, 2) and bias of shape (c), got {}"),
        ({"weight": np.ones((4, 3)), "bias": np.ones(4)},
         "expected weight of shape (c, 2) and bias of shape (c), got {'bias': (4,), 'weight': (4, 3)}"),
        ({"weight": np.ones((4, 2)), "bias": np.full(4, np.nan)}, "expected finite numbers, got NaN or infinity"),
    ],
)  # fmt: skip
def test_outputs_that_do_not_fit_are_refused(head, says):
    x = np.ones((1, 2), np.float32)
    ModelOutputs(Embeddings(["a"], x), np.ones((4, 2), np.float32), np.zeros(4, np.float32)).write(ROUNDS / "outputs")
    Weights(head, {}).write(ROUNDS / "outputs", "head")
    assert refusal(ModelOutputs.read, ROUNDS / "outputs", ["a"]) == f"data/rounds/outputs/head.safetensors: {says}"


def test_rounds_are_in_the_order_of_their_numbers():
    for number in (9, 10, 2):
        Labels(["label"], {f"key{number}": ["cat"]}).write(ROUNDS / f"{number}/labels.csv")
    assert labelled_keys(ROUNDS) == ["key2", "key9", "key10"]


@pytest.mark.parametrize("name", ["round1/labels.csv", "labels.csv", "00/notes.txt"])
def test_what_is_no_round_is_refused(name):
    (ROUNDS / name).parent.mkdir(exist_ok=True)
    (ROUNDS / name).write_text("key,label\n")
    says = f"{ROUNDS / name.split('/')[0]}: expected a round, a numbered folder with labels.csv, found something else"
    assert refusal(labelled_keys, ROUNDS) == says


def test_an_image_without_a_label_in_its_round_may_be_picked_again():
    Labels(["label"], {"a": ["cat"], "b": [""]}).write(ROUNDS / "00/labels.csv")
    assert labelled_keys(ROUNDS) == ["a"]
