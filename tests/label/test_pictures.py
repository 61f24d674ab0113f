"""Labels belong to pictures: they follow one that was renamed, and are lost with one that was replaced."""

from pathlib import Path

import pytest

from pipeline.artifacts.labels import Sources
from tests.label.small_set import (
    FROM_FILE,
    INGEST,
    KEYS,
    labelled,
    labels,
    path_of,
    pick,
)


def pictures(**of):
    """sources.csv, where the pictures of these keys are known."""
    Sources({key: path_of(key) for key in KEYS}, of).write(INGEST / "sources.csv")


WITHOUT = "key,label\nkey1,dog\nkey3,cat\nkey4,cat\n"
WITH = "key,label,picture\nkey1,dog,one\nkey3,cat,three\nkey4,cat,four\n"


@pytest.mark.parametrize("table", [WITHOUT, WITH], ids=["noted when read first", "as the page saves it"])
def test_labels_belong_to_pictures(table, caplog):
    """One is replaced, two change their names with each other, and one takes the name of an image without a label."""
    caplog.set_level("INFO")
    pictures(key1="one", key3="three", key4="four")
    labelled(table)
    assert labels(*FROM_FILE)[0] == WITHOUT
    pictures(key1="new", key3="three", key4="four")
    assert labels(*FROM_FILE)[0] == "key,label\nkey3,cat\nkey4,cat\n"
    assert (
        "label: 1 labels in data/annotations/labels.csv are not used, as their pictures were replaced or are gone: "
        in (caplog.text)
    )
    pictures(key0="one", key3="four", key4="three")
    pick("key0", "key3", "key4")
    assert labels(*FROM_FILE)[0] == "key,label\nkey0,dog\nkey3,cat\nkey4,cat\n"
    follow = "label: 3 labels in data/annotations/labels.csv follow their pictures"
    assert any(message.startswith(follow) for message in caplog.messages)
    pick("key1", "key3", "key4")
    pictures(key1="new", key3="three", key4="four")
    labelled(table.replace("dog,one", "dog,new").replace("key1,dog\n", "key1,ant & bee\n"))  # the new one is labelled
    assert "key1,dog" in labels(*FROM_FILE)[0] or "key1,ant & bee" in labels(*FROM_FILE)[0]
    assert Path("data/annotations/pictures.csv").read_text().count("new") == 1


def test_labels_of_finished_rounds_belong_to_pictures_too():
    Path("data/rounds/00").mkdir(parents=True)
    Path("data/rounds/00/labels.csv").write_text("key,label\nkey0,dog\nkey2,cat\n")
    pictures(key0="zero", key2="two")
    assert labels()[0].startswith("key,label\nkey0,dog\nkey1,cat\nkey2,cat\n")
    pictures(key0="new", key2="new", key5="two")
    assert labels()[0] == "key,label\nkey1,cat\nkey3,ant & bee\nkey4,cat\nkey5,cat\n"
