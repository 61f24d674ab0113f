"""A person's file of labels, while a page is open: what stays of it, and whose label each is."""

import json

import pytest

from pipeline.artifacts.labels import Sources
from pipeline.base.files import read_csv
from tests.label.served import SAID, ask, say, served
from tests.label.small_set import (
    COARSE,
    FILE,
    FROM_FILE,
    INGEST,
    KEYS,
    PICKS,
    labelled,
    path_of,
    refusal,
    two_levels,
)


@pytest.mark.usefixtures("_asked")
def test_a_file_that_is_there_keeps_its_rows_and_columns():
    labelled("label;note;key\ncat;blurred;key4\n")
    with served() as (url, _):
        labelled("label;note;key\ncat;very blurred;key4\n")  # by another hand, while the page is open
        say(url, {"key": "key1", "label": "dog", **SAID})
    header, rows = read_csv(FILE, ())
    found = [dict(zip(header, row, strict=True)) for row in rows]
    assert [(row["key"], row["label"], row["note"]) for row in found] == [
        ("key4", "cat", "very blurred"),
        ("key1", "dog", ""),
    ]


@pytest.mark.usefixtures("_asked")
def test_a_file_of_a_spreadsheet_keeps_the_paths_of_its_rows_and_gets_no_column_twice():
    here = path_of("key3").replace('"', '""')
    labelled(f'Key,Class,Path\n12,cat,gone.png\n3e5,dog,"{here}"\nkey1,cat,\nkey1,Cat,\n')
    with served() as (url, _):
        say(url, {"key": "key4", "label": "dog"})
    header, rows = read_csv(FILE, ())
    assert header == ["rank", "key", "path", "picture", "label", "how", "seconds", "not"]
    assert [row[1:5:3] for row in rows] == [["key4", "dog"], ["key1", "cat"], ["key3", "dog"], ["12", "cat"]]
    assert [row[2] for row in rows] == [*map(path_of, ("key4", "key1", "key3")), "gone.png"]


@pytest.mark.usefixtures("_asked")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("key,label\nkey1,cat\nkey1,dog\n", "key key1: expected one label, got 'cat' and 'dog'"),
        ("key,label,path\n1e5,cat,a.png\n1e5,cat,b.png\n", "key 1e5: expected one path, got 'a.png' and 'b.png'"),
    ],
)
def test_two_rows_that_differ_are_refused_at_the_start_and_later(text, says):
    with served() as (url, _):
        labelled(text)
        assert say(url, {"key": "key4", "label": "dog"}, code=400)["error"] == f"{FILE}: {says}"
        assert FILE.read_text() == text
    assert refusal("--serve", *FROM_FILE) == f"{FILE}: {says}"


def test_coarse_levels_are_saved_too():
    two_levels()
    refusal(*FROM_FILE, *COARSE)
    with served(*COARSE) as (url, _):
        say(url, {"key": PICKS[0], "label": "cat"}, {"key": PICKS[2], "group": "insect"})
        say(url, {"key": PICKS[0], "group": "pet"})
    header, rows = read_csv(FILE, ())
    assert header[4:6] == ["label", "group"]
    assert [row[4:6] for row in rows] == [["cat", "pet"], ["", "insect"]]


def test_a_label_is_of_the_picture_that_was_shown_and_older_ones_stay_of_theirs():
    paths = {key: path_of(key) for key in KEYS}
    Sources(paths, {key: f"new of {key}" for key in KEYS}).write(INGEST / "sources.csv")
    refusal(*FROM_FILE)
    labelled("key,label,picture\nkey4,cat,old of key4\nkey1,cat,old of key1\n")
    with served() as (url, _):
        say(url, {"key": "key1", "label": "dog", **SAID})
    assert [row[3:5] for row in read_csv(FILE, ())[1]] == [["old of key4", "cat"], ["new of key1", "dog"]]


def test_a_label_goes_with_its_picture_and_a_template_says_nothing():
    Sources({key: path_of(key) for key in KEYS}, {key: f"of {key}" for key in KEYS}).write(INGEST / "sources.csv")
    refusal(*FROM_FILE)
    labelled("key,label,picture\nkey4,cat,of key3\nkey1,cow,replaced\nkey2,,\nkey5,dog,\nkey3,ant,gone\n")
    FILE.with_name("pictures.csv").write_text("key,picture,label\nkey5,older,dog\n")
    with served() as (url, _):
        assert {key: row["label"] for key, row in json.loads(ask(f"{url}labels")[1])["rows"].items()} == {"key3": "cat"}
        say(url, {"key": "key4", "label": "dog", **SAID})
    found = [[row[1], *row[3:5]] for row in read_csv(FILE, ())[1]]
    assert found[:3] == [["key4", "of key4", "dog"], ["key1", "replaced", "cow"], ["key3", "gone", "ant"]]
    assert sorted(found[3:]) == [["key2", "", ""], ["key3", "of key3", "cat"], ["key5", "", "dog"]]
