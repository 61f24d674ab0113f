"""What is asked of a person: the template, what is lacking, and when half of the labels are enough."""

import csv
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from pipeline.artifacts.labels import Labels
from pipeline.base.params import Params
from stages.ask import main as ask
from tests.label.small_set import (
    COARSE,
    FILE,
    FROM_FILE,
    INGEST,
    KEYS,
    NAMES,
    PICKS,
    TEMPLATE,
    classes,
    labelled,
    labels,
    nothing_known,
    on_page,
    path_of,
    pick,
    refusal,
)

MISSING = (
    f"{FILE}: expected labels for half of the 3 picks in data/select/picks.csv, {{}}; "
    f"type them into data/label/page.html, or fill in {TEMPLATE}, and save as {FILE}; "
    "[skip], [none] or [unusable] may stand in place of a class"
)


def made():
    return sorted(file.name for file in Path("data/label").iterdir() if not file.name.startswith("."))


def template():
    with TEMPLATE.open(newline="") as file:
        return list(csv.reader(file))


def test_without_labels_it_says_where_everything_lies_and_takes_the_template_filled_in():
    assert refusal(*FROM_FILE) == MISSING.format("found no file")
    assert made() == ["missing.csv", "page.html"]
    header, *rows = template()
    assert header == ["rank", "key", "path", "picture", "label"]
    assert rows == [[str(rank), key, path_of(key), "", ""] for rank, key in enumerate(PICKS)]
    labelled(TEMPLATE.read_text().replace('png",,\n', 'png",,dog\n'))
    assert labels(*FROM_FILE) == ("key,label\nkey1,dog\nkey3,dog\nkey4,dog\n", "file: 3 labels\n")


def test_asked_for_labels_that_are_lacking_are_no_error_and_other_faults_are():
    params = Params.read(Path("params.yaml"), ["label.source=file"])
    Path("params.yaml").write_text(yaml.safe_dump(dict(params.tree)))
    done = CliRunner().invoke(ask, [])
    assert (done.exit_code, done.output) == (0, f"label: {MISSING.format('found no file')}\n")
    assert made() == ["missing.csv", "page.html"]
    labelled("key,label\nkey1,dog\nkey3,dog\n")
    assert CliRunner().invoke(ask, []).output.endswith("file: 2 labels\n")
    labelled("key,label\nkey1,dog\nkey1,cat\n")
    done = CliRunner().invoke(ask, [])
    assert (done.exit_code, done.stderr) == (
        1,
        f"Error: {FILE}: key key1, {path_of('key1')}: expected one label, got 'dog' and 'cat'; keep one of the rows\n",
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("rank,key,path,label\n0,key9,a.png,cat\n1,key2,b.png,\n", "1 label of its own is filled in"),
        ("my notes\n", "it is no table with a column label"),
    ],
)
def test_a_template_with_somebodys_work_is_never_overwritten(text, why):
    refusal(*FROM_FILE)
    TEMPLATE.write_text(text)
    assert f"fill in {TEMPLATE} (kept as it is: {why}), and save" in refusal(*FROM_FILE)
    assert TEMPLATE.read_text() == text


@pytest.mark.parametrize(
    ("text", "found", "filled"),
    [
        ("key,label\nkey1,dog\n", "2 of them, such as key4", ["", "dog", ""]),
        ("key,label\nkey1,[Skip]\nkey3, dog\n", "2 of them, such as key4", ["", "[skip]", "dog"]),
        ("key,label\nkey0,dog\n", "3 of them, such as key4", ["", "", ""]),
        ("key,label\nkey1,\nkey3,[UNUSABLE]\nkey4,\n", "3 of them, such as key4", ["", "", "[unusable]"]),
    ],
)
def test_labels_for_a_part_of_the_picks_are_filled_in_on_page_and_template(text, found, filled, caplog):
    labelled(text)
    caplog.set_level("INFO")
    others = (
        "; `python -m stages.replace_picks && dvc repro` asks for others in place of the 1 marked ones"
        if "[" in text
        else ""
    )
    assert refusal(*FROM_FILE) == MISSING.format(f"got none for {found}") + others
    assert caplog.messages[-1] == "label: to go on, label 1 more image"
    assert FILE.read_text() == text
    assert made() == ["missing.csv", "page.html"]
    assert [card["values"]["label"] for card in on_page()["cards"]] == filled
    assert [(row[1], row[4]) for row in template()[1:]] == list(zip(PICKS, filled, strict=True))


@pytest.mark.parametrize(
    ("text", "written", "said"),
    [
        ("key1,dog\nkey3,cat\n", "key1,dog\nkey3,cat\n", "1 of 3 picks have no label (1 not in labels.csv)"),
        ("key1,dog\nkey3,\nkey4,-1\n", "key1,dog\n", "2 of 3 picks have no label (2 left empty)"),
        ("key1,[unusable]\nkey3,[SKIP]\nkey4,cat\n", "key4,cat\n",
         "2 of 3 picks have no label (1 not usable, 1 skipped)"),
        ("key1,[Unusable]\nkey3,dog\nkey4,cat\n", "key3,dog\nkey4,cat\n", f"not usable: {path_of('key1')}"),
    ],
)  # fmt: skip
def test_the_chain_goes_on_with_half_of_the_labels_or_a_row_for_each_pick(text, written, said, caplog):
    caplog.set_level("INFO")
    labelled(f"key,label\n{text}")
    assert labels(*FROM_FILE) == (f"key,label\n{written}", f"file: {written.count(',')} labels\n")
    assert f"label: {said}" in caplog.messages


@pytest.mark.parametrize(
    ("answered", "text", "written"),
    [
        (["key4", "key3"], "key1,dog\n", "key1,dog\nkey3,ant & bee\nkey4,cat\n"),
        (["key4", "key3", "key1"], "key1,dog\nkey3,\nkey4,[skip]\n", "key1,dog\nkey3,ant & bee\n"),
        (KEYS[:6], "key1,dog\nkey3,\nkey4,\n", "key1,dog\n"),  # a benchmark: nothing is looked up
    ],
)
def test_picks_that_have_an_answer_are_not_asked_for_where_others_have_none(answered, text, written, caplog):
    caplog.set_level("INFO")
    Labels(["label"], {key: [NAMES[int(key[3:]) % 3]] for key in answered}).write(INGEST / "answers.csv")
    labelled(f"key,label\n{text}")
    assert labels(*FROM_FILE)[0] == f"key,label\n{written}"
    looked_up = written.count(",") - 1
    assert (f"label: {looked_up} images have an answer, and it is their label" in caplog.messages) == (looked_up > 0)
    assert any("with label.source: answers in the run" in said for said in caplog.messages) == (len(answered) == 6)


def test_a_template_filled_in_from_the_file_follows_the_picks_and_keeps_coarser_levels():
    classes(label=NAMES, group=["pet"])
    labelled("key,label,group\nkey1,dog,pet\n")
    for picks in (
        ["key4", "key1", "key2"],
        ["key1", "key0", "key2"],
        ["key0", "key2", "key3"],
    ):  # the label of key1 is in the file still
        pick(*picks)
        refusal(*FROM_FILE)
        header, *rows = template()
        assert header == ["rank", "key", "path", "picture", "label", "group"]
        names = [["dog", "pet"] if key == "key1" else ["", ""] for key in picks]
        assert rows == [[str(rank), key, path_of(key), "", *names[rank]] for rank, key in enumerate(picks)]


def test_a_template_that_nobody_touched_follows_a_label_that_was_corrected():
    for label in ("dog", "cat"):
        labelled(f"key,label\nkey1,{label}\n")
        refusal(*FROM_FILE)
        assert [row[4] for row in template()[1:]] == ["", label, ""]


def test_a_person_labels_the_last_picks_coarsely():
    """Without known classes: the template has a coarser column, the page a field for each level that is asked for."""
    nothing_known()
    refusal(*FROM_FILE, *COARSE)
    assert template()[0] == ["rank", "key", "path", "picture", "label", "coarse"]
    fields = [("key4", ["label", "coarse"]), ("key1", ["label", "coarse"]), ("key3", ["coarse"])]
    assert [(card["key"], card["levels"]) for card in on_page()["cards"]] == fields
    labelled("key,label\nkey4,cat\n")  # the column that is missing is asked for all the same
    assert "got none for 2 of them, such as key1" in refusal(*FROM_FILE, *COARSE)
    assert [(card["key"], card["levels"]) for card in on_page()["cards"]] == fields
    assert template()[0] == ["rank", "key", "path", "picture", "label", "coarse"]
    for last, said in ((",insect", ", 1 of them coarse"), ("ant,", "")):  # a finer label than asked for is welcome
        labelled(f"key,label,coarse\nkey4,cat,pet\nkey1,cat,\nkey3,{last}\n")
        written = f"key,label,coarse\nkey1,cat,pet\nkey3,{last}\nkey4,cat,pet\n"
        assert labels(*FROM_FILE, *COARSE) == (written, f"file: 3 labels{said}\n")
    labelled(
        "key,label,coarse\nkey4,cat,\nkey1,[skip],pet\nkey3,,insect\n"
    )  # the class can't be told, but its kind can
    written = "key,label,coarse\nkey1,,pet\nkey3,,insect\nkey4,cat,\n"
    assert labels(*FROM_FILE, *COARSE) == (written, "file: 3 labels, 2 of them coarse\n")
    assert Path("data/label/missing.csv").read_text() == "key,why\nkey1,coarser than asked\n"


def test_coarse_labels_alone_are_too_few():
    nothing_known()
    labelled("key,label,coarse\nkey1,,pet\nkey3,,insect\n")
    assert "got none for 1 of them, such as key4" in refusal(*FROM_FILE, "--set", "label.coarse_budget=2")


def test_the_file_cannot_have_the_template_s_name():
    assert refusal(*FROM_FILE, "--set", "label.file.path=a/template.csv") == (
        "params.yaml: label.file.path: expected a file of another name than template.csv, which is written beside it, "
        "got 'a/template.csv'"
    )


def test_labels_confirmed_many_at_once_stand_for_no_pick():
    """They are learnt from, and listed apart, as nothing is to be estimated from them."""
    nothing_known()
    confirmed = "".join(f"{key},cat,confirmed\n" for key in KEYS[:6] if key not in PICKS)
    labelled(f"key,label,how\n{confirmed}")
    assert "got none for 3 of them" in refusal(*FROM_FILE)
    labelled(f"key,label,how\n{confirmed}{PICKS[0]},dog,key\n{PICKS[1]},dog,confirmed\n")
    assert labels(*FROM_FILE)[0].count("cat") == 3
    assert Path("data/label/confirmed.csv").read_text() == "key\nkey0\nkey2\nkey5\n"
