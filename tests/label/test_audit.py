"""The audit: random images beside the picks, asked for in the same file, and never trained on."""

import csv
from pathlib import Path

import pytest

from pipeline.artifacts.audit import audit_keys, read_audit
from pipeline.artifacts.labels import Labels, Sources
from pipeline.artifacts.shards import Index
from tests.label.small_set import (
    FILE,
    FROM_FILE,
    INGEST,
    KEYS,
    PICKS,
    TEMPLATE,
    classes,
    embed,
    labelled,
    labels,
    nothing_known,
    on_page,
    path_of,
    refusal,
)

TWO = (*FROM_FILE, "--set", "label.audit=2")
AUDIT = Path("data/label/audit.csv")


def test_images_are_drawn_by_their_keys_and_picks_are_left_out():
    keys = [f"{i:04d}" for i in range(1000)]
    first = audit_keys(keys, {}, 50, ())
    assert audit_keys(reversed(keys), {}, 50, ()) == first
    assert audit_keys(keys, first[:2], 48, ()) == first[2:]
    assert len({*audit_keys(keys[:990], {}, 50, ())} & {*first}) >= 45
    assert abs(sum(map(int, first)) / 50 - 500) < 4 * 289 / 50**0.5
    assert audit_keys(keys, {}, 0, ()) == []
    assert audit_keys(keys, first[:2], 0, first) == first[2:]


def test_images_that_are_added_put_none_out_of_the_audit_and_the_same_share_of_them_joins():
    keys, more = [f"{i:04d}" for i in range(400)], [f"new{i:04d}" for i in range(4000)]
    first = audit_keys(keys, {}, 40, ())
    after = audit_keys(keys + more, {}, 40, first)
    assert [key for key in after if key in keys] == first
    assert abs(len(after) - 440) < 4 * (4000 * 0.1 * 0.9) ** 0.5
    assert audit_keys(keys, {}, 60, first)[:40] == first
    assert len(audit_keys(keys, first[:5], 40, first)) == 40  # in place of those that are taken


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


def test_an_audit_with_labels_stays_when_images_are_added():
    nothing_known()
    index = Index.read(INGEST / "index.parquet")
    refusal(*TWO)
    audit = [card["key"] for card in on_page()["cards"] if card["audit"]]
    labelled("key,label\n" + "".join(f"{key},{name}\n" for key, name in zip([*PICKS, *audit], "aabba", strict=True)))
    before = labels(*TWO)[0]
    assert read_audit(Path("data/rounds")) == sorted(audit)
    new = next(name for i in range(99) if audit_keys([name := f"new{i}", *audit], {}, 1, ()) == [name])
    keys = [new if key == KEYS[-1] else key for key in index.key]  # a test image so far
    split = ["train" if key == new else split for key, split in zip(keys, index.split, strict=True)]
    Index(keys, split, index.shard, index.offset, index.size).write(INGEST / "index.parquet")
    Sources({key: path_of(key) for key in keys}).write(INGEST / "sources.csv")
    embed([key for key, of in zip(keys, split, strict=True) if of == "train"])
    assert labels(*TWO)[0] == before
    assert [card["key"] for card in on_page()["cards"] if card["audit"]] == [new, *audit]


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
