"""The audit: random images beside the picks, asked for in the same file, and never trained on."""

import csv
from pathlib import Path

import pytest

from pipeline.artifacts.audit import audit_keys
from pipeline.artifacts.labels import Labels
from tests.label.small_set import (
    FILE,
    FROM_FILE,
    KEYS,
    PICKS,
    TEMPLATE,
    classes,
    labelled,
    labels,
    nothing_known,
    on_page,
    refusal,
)

TWO = (*FROM_FILE, "--set", "label.audit=2")
AUDIT = Path("data/label/audit.csv")


def test_images_are_drawn_by_their_keys_and_picks_are_left_out():
    keys = [f"{i:04d}" for i in range(1000)]
    first = audit_keys(keys, {}, 50)
    assert audit_keys(reversed(keys), {}, 50) == first
    assert audit_keys(keys, first[:2], 48) == first[2:]
    assert len({*audit_keys(keys[:990], {}, 50)} & {*first}) >= 45
    assert abs(sum(map(int, first)) / 50 - 500) < 4 * 289 / 50**0.5
    assert audit_keys(keys, {}, 0) == []


def test_its_images_are_asked_for_beside_the_picks_and_written_apart(caplog):
    caplog.set_level("INFO")
    nothing_known()
    assert (
        "expected labels for half of the 3 picks in data/select/picks.csv and of the 2 images of the audit, found no"
        in (refusal(*TWO))
    )
    assert caplog.messages[-1] == "label: to go on, label 2 more images and 1 more image of the audit"
    keys = [row["key"] for row in csv.DictReader(TEMPLATE.read_text().splitlines())]
    audit = keys[3:]
    assert keys[:3] == PICKS
    assert len({*audit} - {*PICKS} & {*KEYS[:6]}) == 2
    assert [card["key"] for card in on_page()["cards"] if card["audit"]] == audit
    labelled("key,label\n" + "".join(f"{key},dog\n" for key in PICKS))
    assert "got none for 2 of them" in refusal(*TWO)
    assert not AUDIT.exists()
    labelled("key,label\n" + "".join(f"{key},{name}\n" for key, name in zip(keys, [*"aab", "b", "a"], strict=True)))
    assert labels(*TWO)[0].count("\n") == 4
    assert Labels.read(AUDIT).rows == {audit[0]: ["b"], audit[1]: ["a"]}
    assert "label: audit: 2 of 2 images have a label, which is not trained on" in caplog.messages


@pytest.mark.parametrize("rest", ["", "[skip]", "[unusable]"])
def test_an_image_of_the_audit_may_be_skipped_with_a_word(rest, caplog):
    nothing_known()
    refusal(*TWO)
    keys = [row["key"] for row in csv.DictReader(TEMPLATE.read_text().splitlines())]
    labelled("key,label\n" + "".join(f"{key},{name}\n" for key, name in zip(keys, [*"aab", "b", rest], strict=True)))
    labels(*TWO)
    assert Labels.read(AUDIT).rows == {keys[3]: ["b"], keys[4]: [""]}
    assert "label: audit: images without a label make the accuracy too high, if they were the hard ones" in (
        caplog.messages
    )


def test_what_is_written_of_an_audit_is_no_part_of_what_is_trained_on():
    nothing_known()
    classes(label=[], kind=[])
    refusal(*TWO)
    keys = [row["key"] for row in csv.DictReader(TEMPLATE.read_text().splitlines())]
    rows = [*((key, "cat", "") for key in keys[:3]), (keys[3], "cat", "pet"), (keys[4], "dog", "pet")]
    labelled("key,label,kind\n" + "".join(f"{','.join(row)}\n" for row in rows))
    assert labels(*TWO)[0] == "key,label,kind\n" + "".join(f"{key},cat,\n" for key in sorted(PICKS))
    assert Labels.read(AUDIT).rows == {keys[3]: ["cat"], keys[4]: ["dog"]}


def test_a_class_of_the_audit_alone_is_named_and_a_label_near_it_asked_about(caplog):
    nothing_known()
    refusal(*TWO)
    keys = [row["key"] for row in csv.DictReader(TEMPLATE.read_text().splitlines())]
    names = ["ant", "ant", "sevn", "seven", "bee"]
    labelled("key,label\n" + "".join(f"{key},{name}\n" for key, name in zip(keys, names, strict=True)))
    labels(*TWO)
    assert "label: only the audit has images of bee, seven: without a label no result names these" in caplog.messages
    assert "label: the class 'sevn' has one label and is near 'seven': is it a slip?" in caplog.messages


def test_answers_that_came_with_the_images_do_too():
    labels("--set", "label.audit=2")
    rows = Labels.read(AUDIT).rows
    assert len(rows) == 2
    assert not {*rows} & {*PICKS}
    assert FILE.exists() is False


def test_images_whose_label_was_given_under_a_guess_measure_nothing():
    nothing_known()
    refusal(*TWO)
    audit = [card["key"] for card in on_page()["cards"] if card["audit"]]
    others = "".join(f"{key},dog,key\n" for key in KEYS[:6] if key != audit[0])
    for how, stays in (("key", True), ("guess", False), ("confirmed", False)):
        labelled(f"key,label,how\n{others}{audit[0]},cat,{how}\n")
        labels(*TWO)
        assert (audit[0] in Labels.read(AUDIT).rows) == stays
        assert (audit[0] in Labels.read(Path("data/label/labels.csv")).rows) != stays
