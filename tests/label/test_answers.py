"""Labels looked up in the answers: for the picks alone, at the level of each."""

from pathlib import Path

import pytest

from pipeline.artifacts.labels import Labels
from tests.label.small_set import COARSE, FILE, INGEST, answers, labels, page, pick, refusal, two_levels

TOO_COARSE = "label.coarse_budget: expected less than the 3 picks, for some need a label of the finest level"
BELOW = "params.yaml: label.coarse_budget: expected a number of picks or a list of such, none below 0"


def test_answers_are_looked_up_for_the_picks_alone():
    assert labels() == ("key,label\nkey1,cat\nkey3,ant & bee\nkey4,cat\n", "answers: 3 labels\n")
    names = ["audit.csv", "confirmed.csv", "labels.csv", "missing.csv", "page.html"]
    assert sorted(p.name for p in Path("data/label").iterdir()) == names
    assert not FILE.parent.exists()
    before = page()
    labels()
    assert page() == before


def test_labels_of_finished_rounds_join_those_of_the_picks():
    earlier = {"key0": ["dog"], "key1": ["dog"], "key5": ["cat"]}  # key1 has a new label
    Labels(["label"], earlier).write(Path("data/rounds/00/labels.csv"))
    joined = "key,label\nkey0,dog\nkey1,cat\nkey3,ant & bee\nkey4,cat\nkey5,cat\n"
    assert labels() == (joined, "answers: 3 labels\n")
    assert "key0" not in page()


def test_rounds_have_the_levels_that_are_known_and_no_other_columns():
    """A person's file of earlier labels may have further columns; a later coarse name replaces no fine one."""
    two_levels()
    Path("data/rounds/00").mkdir(parents=True)
    text = "key,label,path,group\nkey0,dog,x.png,\nkey5,,y.png,insect\nkey3,ant & bee,z.png,\n"
    Path("data/rounds/00/labels.csv").write_text(text)
    joined = "key,label,group\nkey0,dog,\nkey1,cat,pet\nkey3,ant & bee,insect\nkey4,cat,pet\nkey5,,insect\n"
    assert labels(*COARSE)[0] == joined


def test_coarser_levels_come_along():
    answers(label=lambda i: "dog" if i == 3 else "cat", group=lambda i: "pet" if i == 4 else "")
    assert labels()[0] == "key,label,group\nkey1,cat,pet\nkey3,dog,\nkey4,cat,pet\n"  # once a class is enough


def test_the_last_picks_get_a_coarse_label_alone():
    two_levels()
    coarse = "key,label,group\nkey1,cat,pet\nkey3,,insect\nkey4,cat,pet\n"
    assert labels(*COARSE) == (coarse, "answers: 3 labels, 1 of them coarse\n")


def test_a_budget_for_each_of_several_coarser_levels():
    answers(label=lambda _: "cat", a=lambda _: "pet", b=lambda _: "animal")
    found = labels("--set", "label.coarse_budget=[1, 1]")[0]
    assert found == "key,label,a,b\nkey1,,pet,animal\nkey3,,,animal\nkey4,cat,pet,animal\n"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("coarse_budget=3", f"{TOO_COARSE}, got 3"),
        ("coarse_budget=[1, 2]", f"{TOO_COARSE}, got 3"),
        ("coarse_budget=[0, 1]", f"{INGEST}/answers.csv: expected 3 levels for label.coarse_budget, got label, group"),
        ("coarse_budget=-1", f"{BELOW}, got -1"),
        ("coarse_budget=[1, -1]", f"{BELOW}, got [1, -1]"),
        ("source=oracle", "params.yaml: label.source: expected one of answers, file, got 'oracle'"),
        ("answers.path=x", "params.yaml: label.answers: unknown ['path']"),
        ("speed=1", "params.yaml: label: unknown ['speed']"),
    ],
)
def test_params_are_refused(item, message):
    two_levels()
    assert refusal("--set", f"label.{item}") == message


def test_a_pick_without_answer_is_refused_by_key():
    missing = f"{INGEST}/answers.csv: expected an answer for every pick, got none for"
    hint = "where there are no answers, set label.source=file"
    Labels(["label"], {"key4": ["cat"], "key1": [""]}).write(INGEST / "answers.csv")
    assert refusal() == f"{missing} key1, key3; {hint}"
    assert not Path("data/label").exists()
    answers(label=lambda _: "cat", group=lambda i: "" if i == 3 else "pet")
    assert refusal(*COARSE) == f"{missing} key3; {hint}"


def test_a_pick_that_is_no_training_image_is_refused():
    for key in ("key7", "key9", "a"):
        pick("key4", key)
        says = f"data/select/picks.csv: key {key}: expected a training image of {INGEST}, found none of that key"
        assert refusal() == says


def test_a_changed_shard_is_named():
    Path("data/shards/one.tar").write_bytes(b"")
    assert refusal().startswith("data/shards/one.tar: expected the shard of ")
    assert not Path("data/label").exists()
