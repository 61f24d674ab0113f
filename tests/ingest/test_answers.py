"""Tables of answers, in a folder of images or beside it: what they say, and what does not fit."""

import pytest

from tests.ingest.outcome import FIVE, FOLDER, IMAGES, answers, classes, splits


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("path,label\n9.png,cat\n", "9.png: expected an image of that path, found none"),
        ("path,label\n1.png,cat\n1.png,dog\n", "1.png: expected one label, got 'cat' and 'dog'"),
        (
            "caption,label\n1.png,cat\n",
            "expected the columns path and label, got caption,label; path may be called file, filename, filepath too",
        ),
        (
            "path,label,split\n1.png,cat,test\n2.png,cat,4\n",
            "2.png: expected train, val or test in the column of splits, got '4'",
        ),
    ],
)
def test_answers_that_do_not_fit(refusal, fill, table, says):
    fill(IMAGES, FIVE)
    (IMAGES / "answers.csv").write_text(table)
    assert refusal(FOLDER) == f"data/images/answers.csv: {says}"


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("answers.csv", "path,label\n{0},cat\n{1},dog\n"),
        ("Answers.CSV", "Image;Class\n{0};cat\n{1};dog\n"),
        ("labels.csv", "category,file name\ncat,{0}\ndog,{1}\n"),
        ("metadata.csv", "file_name,label,width\n{0},cat,8\n{1},dog,8\n"),
        ("metadata.csv", "path,label\n/home/me/set/{0},cat\n/home/me/set/{1},dog\n"),
        ("../labels.tsv", "path\tlabel\nimages/{0}\tcat\nimages/{1}\tdog\n"),
        ("a/labels.csv", "id,label\n0,cat\n1,dog\n"),
    ],
)
def test_a_table_of_answers_has_one_of_several_names_and_places(ingest, fill, caplog, name, table):
    caplog.set_level("INFO")
    fill(IMAGES, [f"a/{file}" for file in FIVE])
    fill(IMAGES, {"counts.csv": b"year,number\n1,2\n"})
    (IMAGES / name).write_text(table.format("a/0.png", "a/1.png"))
    ingest(FOLDER)
    assert answers() == {"a/0.png": ("cat",), "a/1.png": ("dog",)}
    assert classes() == {"label": ["cat", "dog"]}
    assert (
        "ingest: passed over in data/images, as they are no images: tables (1: counts.csv); a table of "
        "answers is called answers.csv"
    ) in caplog.messages


def test_a_column_may_hold_the_split_or_put_classes_together(ingest, fill, caplog):
    caplog.set_level("INFO")
    fill(IMAGES, FIVE)
    rows = ["0.png,cat,training,pet,8", "1.png,dog,train,pet,9", "2.png,owl,dev,bird,8", "3.png,cat,val,pet,7"]
    (IMAGES / "answers.csv").write_text("\n".join(["path,label,Split,kind,width", *rows]))
    ingest(FOLDER)
    assert splits() == dict(zip(FIVE, ("train", "train", "test", "test", "train"), strict=True))
    assert classes() == {"label": ["cat", "dog", "owl"], "kind": ["bird", "pet"]}
    assert caplog.messages[:4] == [
        "ingest: data/images/answers.csv: no use is made of the columns width",
        "ingest: data/images/answers.csv has answers of 4 images",
        "ingest: 1 of 5 images have no label",
        "ingest: the split is that of a column of answers.csv: 2 images of train to train, 2 of val to test, 1 without "
        "a split to train too",
    ]


def test_a_test_split_without_answers_does_not_take_the_place_of_one_with_answers(ingest, fill, caplog):
    caplog.set_level("INFO")
    fill(IMAGES, [f"{split}/{name}.png" for split in ("train", "val", "test") for name in "abc"])
    (IMAGES / "answers.csv").write_text("path,label\ntrain/a.png,cat\nval/a.png,cat\n")
    ingest(FOLDER)
    assert splits() == {f"{s}/{n}.png": {"val": "test"}.get(s, s) for s in ("train", "val") for n in "abc"}
    assert (
        "ingest: the split is that of the sub-folders: 3 images of train to train, 3 of val to test; 3 of test are left"
        " out, as none of them has an answer, and val has"
    ) in caplog.messages
