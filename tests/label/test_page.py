"""What the page holds: each image asked for once, the labels of the person's file, guesses, no answer of the audit."""

import base64
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.model_outputs import ModelOutputs
from pipeline.artifacts.predictions import PseudoLabels, Ranking
from tests.label.small_set import (
    COARSE,
    FROM_FILE,
    INGEST,
    KEYS,
    PICKS,
    labelled,
    labels,
    nothing_known,
    on_page,
    page,
    path_of,
    pick,
    refusal,
    two_levels,
)


def test_the_page_holds_each_pick_once_and_of_other_images_what_lies_beside_them():
    refusal(*FROM_FILE)
    data = on_page()
    assert [(card["rank"], card["key"], card["path"]) for card in data["cards"]] == [
        (rank, key, path_of(key)) for rank, key in enumerate(PICKS, start=1)
    ]
    images = [Image.open(BytesIO(base64.b64decode(card["uri"].partition(",")[2]))) for card in data["cards"]]
    assert [image.height for image in images] == [5, 2, 4]
    assert all(card["tiny"] for card in data["cards"])
    assert data["classes"] == {"label": ["ant & bee", "cat", "dog"]}
    assert {*data["cards"][1]["beside"][:2]} == {"key0", "key2"}
    assert [sorted(place for place, _ in card["like"]) for card in data["cards"]] == [[1, 2], [0, 2], [0, 1]]
    assert {*data["small"]} == {"key0", "key2", "key5"}  # the other ones are large already
    assert "http" not in page().replace("http-equiv", "").replace('startsWith("http")', "")
    assert path_of("key4") not in page()  # as text in a page, it is escaped
    assert not any(key in page() for key in KEYS[6:])


def test_the_page_shows_the_labels_of_the_picks_and_of_no_other_image():
    rows = {key: [f"class of {key}"] for key in KEYS}
    Labels(["label"], rows).write(INGEST / "answers.csv")
    labels()
    text = page()
    assert re.findall(r"<b>(class of \w+)</b>", text) == [f"class of {key}" for key in PICKS]
    assert re.findall("class of", text) == ["class of"] * 3
    paths = [f"some, &#34;odd&#34; &lt;b&gt;/{key}.png" for key in PICKS]
    assert re.findall(r"<small>(.*)</small>", text) == [f"rank {rank}<br>{path}" for rank, path in enumerate(paths)]
    assert "<input" not in text
    assert "<script" not in text


def test_a_label_at_several_levels_is_shown_whole():
    two_levels()
    labels(*COARSE)
    assert re.findall(r"<b>(.*)</b>", page()) == ["cat / pet", "cat / pet", "insect"]


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ("[zebra, CAT, cat]", "expected names of classes, of which no two are alike, got ['zebra', 'CAT', 'cat']"),
        ("['', cat]", "expected names of classes, of which no two are alike, got ['', 'cat']"),
        ("['[skip]']", "expected names of classes, of which no two are alike, got ['[skip]']"),
        ("cat", "expected a valid array, got 'cat'"),
    ],
)
def test_classes_to_choose_from_are_names_and_each_is_there_once(given, refused):
    assert refusal("--set", f"label.classes={given}") == f"params.yaml: label.classes: {refused}"


def test_classes_are_those_known_then_those_asked_for_and_those_that_were_typed(caplog):
    caplog.set_level("INFO")
    labelled("key,label\nkey1,ZEBRA\nkey0,yak\n")
    labels(*FROM_FILE, "--set", "label.classes=[zebra, cat, asp]")
    assert on_page()["classes"] == {"label": ["ant & bee", "cat", "dog", "zebra", "asp", "yak"]}
    assert "label: no answer names 1 of the classes: yak" in caplog.messages


def test_classes_that_were_typed_keep_their_order_in_the_next_round():
    nothing_known()
    refusal(*FROM_FILE)
    labelled("key,label\nkey4,yak\nkey1,asp\n")
    Path("data/rounds/00").mkdir(parents=True)
    Path("data/rounds/00/labels.csv").write_text("key,label\nkey0,zebra\nkey2,yak\n")
    labels(*FROM_FILE)
    assert on_page()["classes"] == {"label": ["zebra", "yak", "asp"]}


def test_labels_so_far_give_guesses_and_those_that_are_no_picks_stay_in_the_file():
    """Key 0 and key 1 are beside each other, as are 3, 4 and 5."""
    nothing_known()
    assert all(card["guess"] is None for card in asked("key,label\n"))
    assert all(card["guess"] is None for card in asked("key,label\nkey0,cat\n"))  # a single class: nothing to tell
    cards = asked("key,label,how,seconds\nkey0,cat,typed,0.4\nkey5,dog,key,\n")
    assert [(card["key"], card["guess"][0]) for card in cards] == [("key4", "dog"), ("key1", "cat"), ("key3", "dog")]
    assert all(0.5 < card["guess"][1] <= 1 for card in cards)
    others = {one["key"]: (one["values"]["label"], one["how"], one["seconds"]) for one in on_page()["others"]}
    assert others == {"key0": ("cat", "typed", 0.4), "key5": ("dog", "key", None)}


def test_what_many_are_confirmed_from_is_neither_picked_nor_labelled_nor_marked():
    nothing_known()
    asked("key,label\nkey1,cat\nkey4,dog\n")
    assert {one["key"]: one["guess"][0] for one in on_page()["sure"]} == {"key0": "cat", "key5": "dog", "key2": "cat"}
    asked("key,label\nkey1,cat\nkey4,dog\nkey0,[unusable]\nkey5,dog\n")
    assert [one["key"] for one in on_page()["sure"]] == ["key2"]


def test_images_of_which_it_is_not_sure_are_not_confirmed_many_at_once():
    """By a linear probe alone the images between the two labels are as good as undecided."""
    nothing_known()
    pick("key1", "key4")
    labelled("key,label\nkey0,cat\nkey5,dog\n")
    labels(*FROM_FILE)
    assert [one["key"] for one in on_page()["sure"]] == ["key2", "key3"]
    labels(*FROM_FILE, "--set", "train.propagate.readout=linear")
    assert on_page()["sure"] == []


def found_by_a_model(*groups):
    """A finished round whose model found classes with these images, the surest first."""
    names = [f"new {i}" for i in range(1, len(groups) + 1)]
    x = np.ones((6, 1), np.float32)
    ModelOutputs(Embeddings(KEYS[:6], x), x, np.zeros(6, np.float32), names).write(Path("data/rounds/outputs"))
    rows = [(key, name, 1 - i / 10) for name, group in zip(names, groups, strict=True) for i, key in enumerate(group)]
    keys, said, p = zip(*rows, strict=True)
    ranking = Ranking([[name] for name in said], np.array(p)[:, None])
    PseudoLabels(keys, ranking).write(Path("data/rounds/outputs/pseudo_labels.csv"))


def test_classes_that_a_model_found_are_groups_to_be_named_until_somebody_does(caplog):
    nothing_known()
    found_by_a_model(["key2", "key0"], ["key5"])
    caplog.set_level("INFO")
    asked("key,label\nkey1,cat\nkey4,dog\n")
    groups = [(group["count"], [one["key"] for one in group["items"]]) for group in on_page()["unlike"]]
    assert groups == [(2, ["key2", "key0"]), (1, ["key5"])]
    assert not {"key0", "key2", "key5"} & {one["key"] for one in on_page()["sure"]}
    assert "about 3 images look like none of the classes, in 2 groups" in caplog.text
    asked("key,label\nkey1,cat\nkey4,dog\nkey0,owl\n")
    assert [[one["key"] for one in group["items"]] for group in on_page()["unlike"]] == [["key5"]]
    asked("key,label\nkey1,cat\nkey4,dog\nkey0,owl\nkey5,[unusable]\n")
    assert on_page()["unlike"] == []
    found_by_a_model(["key1", "key2", "key0"])
    asked("key,label\nkey1,cat\nkey4,dog\n")
    assert [len(group["items"]) for group in on_page()["unlike"]] == [2]  # key1 is a pick, and not shown there


def test_a_label_in_the_file_has_the_guess_of_the_others():
    nothing_known()
    cards = asked("key,label\nkey0,cat\nkey1,dog\nkey2,cat\nkey3,dog\nkey4,dog\nkey5,dog\n")
    assert {card["key"]: card["guess"][0] for card in cards} == {"key1": "cat", "key3": "dog", "key4": "dog"}


def test_so_has_a_label_of_an_earlier_round_and_what_the_file_says_of_it_comes_first():
    nothing_known()
    Path("data/rounds/00").mkdir(parents=True)
    Path("data/rounds/00/labels.csv").write_text("key,label\nkey2,cat\nkey0,dog\nkey5,dog\nkey1,dog\n")
    asked("key,label\nkey0,cat\nkey5,[skip]\nkey1,dog\nkey3,dog\nkey4,dog\n")
    found = {card["key"]: card for card in on_page()["earlier"]}
    assert [*found] == ["key2", "key0", "key5"]  # key1 is a pick
    assert [card["values"]["label"] for card in found.values()] == ["cat", "cat", "[skip]"]
    assert [card["kept"]["label"] for card in found.values()] == ["cat", "dog", "dog"]
    assert [card["filed"] for card in found.values()] == [False, True, True]
    assert [found[key]["guess"][0] for key in ("key2", "key0")] == ["dog", "dog"]  # key1 is nearest to both
    assert found["key5"]["guess"] is None
    assert on_page()["others"] == []


def test_the_audit_has_no_guess_and_no_label_of_it_is_shown_beside_an_image():
    nothing_known()
    both = (*FROM_FILE, "--set", "label.audit=2")
    refusal(*both)
    audit = [card["key"] for card in on_page()["cards"] if card["audit"]]
    labelled("key,label\nkey1,cat\nkey4,dog\n" + "".join(f"{key},cat\n" for key in audit))
    labels(*both)
    data = on_page()
    for card in data["cards"]:
        if card["audit"]:
            assert (card["guess"], card["beside"], card["like"]) == (None, [], [])
    assert not {*audit} & ({one["key"] for one in data["sure"]} | {*data["known"]})
    assert all(place < 3 for card in data["cards"] for place, _ in card["like"])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("key1,cat,confirmed,0.2\nkey3,cat,key,2.0\nkey4,dog,guess,\"1,5\"\n",
         "label: 1 of 3 labels of the page were confirmed many at once, 1.5 s a label (median of 3)"),
        ("key1,cat,typed,soon\nkey3,cat,key,-1\nkey4,dog,,\n",
         "label: 0 of 2 labels of the page were confirmed many at once"),
    ],
)  # fmt: skip
def test_the_log_says_how_labels_were_given_and_how_long_they_took(rows, said, caplog):
    caplog.set_level("INFO")
    labelled(f"key,label,how,seconds\n{rows}")
    labels(*FROM_FILE)
    assert said in caplog.messages


def asked(text):
    labelled(text)
    refusal(*FROM_FILE) if text.count("\n") < 3 else labels(*FROM_FILE)
    return on_page()["cards"]
