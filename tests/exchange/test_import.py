"""Labels from exports: which image an answer is of, whose class counts, what is refused, and what stays in the file."""

import csv
import io
import json
import zipfile
from pathlib import Path

import pytest

from pipeline.artifacts.skipped import Skipped
from pipeline.base.files import write_json
from pipeline.exchange.votes import decide
from tests.exchange.small import AUDIT, PICTURES, export, labels, name_of, take
from tests.label.small_set import FILE, FROM_FILE, labelled, path_of, pick
from tests.label.small_set import labels as label_stage


def studio(*tasks):
    """An export of Label Studio: for each task its data, and who gave which choices."""
    Path("x.json").write_text(
        json.dumps(
            [
                {
                    "data": data,
                    "annotations": [
                        {"completed_by": {"email": who}, "result": [{"type": "choices", "value": {"choices": names}}]}
                        for who, names in given.items()
                    ],
                }
                for data, given in tasks
            ]
        )
    )
    return "x.json"


def archive(name, data):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as inside:
        inside.writestr(name, data)
    return file.getvalue()


LAUGHS = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><annotations>&b;</annotations>'
OUTSIDE = '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotations>&a;</annotations>'
CVAT = '<annotations><image id="0" name="key4.png"><tag label="dog"/></image></annotations>'
COCO = {"images": [{"id": 1, "file_name": "key4.png"}], "categories": [{"id": 1, "name": "cat"}]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xef\xbb\xbf[]", "expected a label for one image at least, got none"),
        (b"[" * 200_000, "expected JSON, got: maximum recursion depth exceeded"),
        (b"[\xff]", "expected JSON in UTF-8, got bytes that are not (invalid start byte)"),
        ("[3]", "task 1: expected an object, got 3"),
        ('{"classes": null, "labels": {"key4": "\\ud800"}}', 'key4: expected a text in Unicode, got "\\ud800"'),
        ('[{"data": []}]', "task 1: data: expected an object, got []"),
        ('[{"data": {"key": ["key4"]}}]', "task 1: expected the name of an image in data, found none"),
        ('[{"data": {"key": "key4"}, "annotations": {}}]', "task 1: annotations: expected a list, got {}"),
        ('[{"data": {"key": "key4"}, "annotations": [{}]}]', "task 1: expected result, found only nothing"),
        (
            '[{"data": {"key": "key4"}, "annotations": [{"result": [{"type": "rectanglelabels"}]}]}]',
            "task 1: expected choices, got rectanglelabels: a label is of a whole image",
        ),
        (
            '[{"image": "key4.png", "label": "dog"}]',
            "task 1: expected data and annotations, got image, label; export it",
        ),
        ('{"a": 1}', "got JSON with a; name it by --format"),
        (json.dumps({**COCO, "annotations": [{"image_id": True}]}), "annotation 1: image_id: expected a whole number"),
        (
            json.dumps({**COCO, "annotations": [{"image_id": 1, "category_id": 2}]}),
            "annotation 1: expected an image and a category of the file, got others",
        ),
        ('{"classes": ["cat"], "labels": {"key4": 1}}', "key4: expected one of the 1 classes, got the number 1"),
        ('{"classes": {}, "labels": {}}', "classes: expected a list, got {}"),
        ('{"classes": null, "labels": {"key4": {"label": null}}}', "key4: expected a text, got null"),
        (LAUGHS, "expected XML without a DOCTYPE, got one"),
        (OUTSIDE, "expected XML without a DOCTYPE, got one"),
        ("<annotations><image", "expected XML, got: unclosed token"),
        ('<?xml version="1.0" encoding="none"?><a/>', "expected XML, got: unknown encoding"),
        ("<svg/>", "expected CVAT's annotations, found none"),
        ("<annotations><track/></annotations>", "expected CVAT for images 1.1, got CVAT for video"),
        ('<annotations><image name="a"><tag/></image></annotations>', "tag: expected the attribute label, found none"),
        (archive("other.xml", CVAT), "expected annotations.xml in the archive"),
        (archive("annotations.xml", b" " * 100_000_001), "expected at most 100,000,000 bytes of annotations.xml"),
        ("a,b\n1,2\n", "expected the columns label, got a,b; label may be called class, cls, category too"),
        ("split,label\ntrain,dog\n", "expected a column key, path or file_name, got split,label"),
        ("file_name,category\nother.png,dog\n", "expected images of this set, got 1 others"),
        ('file_name,category\nkey4.png,"a\nb"\n', "key key4: expected a label of one line, got 'a\\nb'"),
        (
            "file_name,category\nkey4.png,[maybe]\n",
            "key key4: expected a label, [skip], [none] or [unusable], got '[maybe]'",
        ),
    ],
)
def test_what_is_no_export_is_refused_in_one_line(content, said):
    Path("x").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert said in take("x")
    assert not FILE.exists()


def test_a_huge_file_is_refused_before_it_is_read():
    with Path("x.json").open("wb") as file:
        file.write(b"[")
        file.truncate(200_000_000)
    assert take("x.json") == "Error: x.json: expected at most 100,000,000 bytes, got 200,000,000; export it in parts"


@pytest.mark.parametrize(
    "data",
    [
        {"key": "key4"},
        {"picture": "some/KEY4.png"},
        {"image": name_of("key4")},
        {"image": "KEY4.png"},
        {"image": "C:\\pictures\\Key4.PNG"},
        {"photo": f"http://example.org/some/{path_of('KEY4')}".replace(" ", "%20")},
        {"image": "/data/upload/3/0123abcd-KEY4.png"},
        {"image": "/data/local-files/?d=some/KEY4.png"},
    ],
)
def test_an_image_is_found_by_key_name_or_path(data):
    take(studio((data, {"ann": ["dog"]})))
    assert labels() == {"key4": "dog"}
    assert PICTURES["key4"] in FILE.read_text()


def test_an_answer_stays_with_the_picture_that_was_exported():
    take(studio(({"image": name_of("key4").replace(PICTURES["key4"], "0" * 20)}, {"ann": ["dog"]})))
    assert "key4," in FILE.read_text()
    assert "0" * 20 in FILE.read_text()


def test_labels_of_test_images_are_not_taken(caplog):
    take(studio(({"key": "key7"}, {"ann": ["dog"]}), ({"key": "key4"}, {"ann": ["Dog"]})))
    assert labels() == {"key4": "dog"}
    assert "1 images are held out for the test" in caplog.text


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ({"a": "cat"}, "cat"),
        ({"a": "cat", "b": "dog", "c": "cat"}, "cat"),
        ({"a": "cat", "b": "dog"}, None),
        ({"a": "cat", "b": "dog", "c": "ant"}, None),
        ({"a": "[skip]", "b": "dog"}, "dog"),
        ({"a": "[skip]", "b": "[skip]"}, "[skip]"),
        ({"a": "[unusable]", "b": "dog", "c": "[unusable]"}, "[unusable]"),
    ],
)
def test_the_class_that_most_gave_counts(given, label):
    verdict = decide([("key", who, name) for who, name in given.items()])
    assert verdict.label.get("key") == label
    assert bool(verdict.split) == (label is None)


def test_one_persons_answers_in_several_classes_are_left_out():
    verdict = decide([("key", "a", "cat"), ("key", "a", "dog"), ("key", "b", "cat"), ("other", "a", "cat")])
    assert (verdict.several, verdict.label) == ({"key": ["cat", "dog"]}, {"other": "cat"})


def test_each_of_several_files_is_a_persons_where_the_tool_names_nobody():
    for name, label in (("a", "dog"), ("b", "Cat"), ("c", "cat")):
        Path(f"{name}.csv").write_text(f"file_name,category\nkey4.png,{label}\n")
    take("a.csv", "b.csv", "c.csv")
    assert labels() == {"key4": "cat"}


def test_what_is_in_the_file_stays_and_another_label_needs_a_word():
    labelled("rank;key;label;note\n0;key4;;mine\n1;key1;Cat;\n2;key3;dog;\n")
    file = studio(*(({"key": key}, {"ann": ["cat"]}) for key in ("key4", "key1", "key0")))
    assert take(file).startswith(f"{FILE}: 2 new labels, 0 replaced, 1 there already; set label.source: file")
    kept = [f"0,key4,cat,mine,,{PICTURES['key4']}", "1,key1,Cat,,,", "2,key3,dog,,,"]
    assert FILE.read_text().splitlines()[:4] == ["rank,key,label,note,path,picture", *kept]
    before, other = FILE.read_text(), studio(({"key": "key3"}, {"ann": ["cat"]}), ({"key": "key5"}, {"ann": ["cat"]}))
    assert take(other) == (
        f"Error: {FILE}: expected the labels that are there, got 1 others, for some, \"odd\" <b>/key3.png ('dog', now "
        "'cat'); --replace takes the new ones"
    )
    assert FILE.read_text() == before
    assert take("--replace", other).startswith(f"{FILE}: 1 new labels, 1 replaced, 0 there already")
    assert labels() == {**dict.fromkeys(("key0", "key3", "key4", "key5"), "cat"), "key1": "Cat"}


def test_an_export_says_that_others_are_not_picked_yet(caplog):
    says = "others are not picked yet in place of 1: `dvc repro` first, for the export to have them"
    export("csv")
    assert says not in caplog.messages
    Skipped.read(Path("data/rounds")).and_({"key1": "skipped", "gone": "skipped"}, 0).write(Path("data/rounds"))
    export("coco")
    assert says in caplog.messages


def test_label_takes_what_came_back_and_the_next_export_asks_for_the_rest():
    export("csv", *AUDIT)
    Path("csv/picks.csv").write_text(Path("csv/picks.csv").read_text().replace(",cat,0.700,", ",cat,0.700,dog"))
    take("csv")
    assert export("cvat", *AUDIT) == "cvat: 3 images for cvat, 1 of them with a guess"
    assert name_of("key1") not in Path("cvat/annotations.xml").read_text()
    take(
        studio(
            ({"key": "key3"}, {"ann": ["dog"]}), ({"key": "key4"}, {"ann": ["Cat"]}), ({"key": "key5"}, {"a": ["cat"]})
        )
    )
    assert label_stage(*FROM_FILE, *AUDIT)[0] == "key,label\nkey1,dog\nkey3,dog\nkey4,cat\n"
    assert Path("data/label/audit.csv").read_text() == "key,label\nkey5,cat\n"
    assert "expected picks without a label, got 3 with one" in export("coco", *AUDIT)


OLD, NOW = "0" * 20, PICTURES["key4"]


@pytest.mark.parametrize(
    ("rows", "given", "said", "left"),
    [
        ([f"key4,p,{OLD},cat"], "cat", "1 new labels, 0 replaced, 0 there already", [f"key4,p,{NOW},cat"]),
        ([f"key4,p,{OLD},dog"], "cat", "1 new labels, 0 replaced, 0 there already", [f"key4,p,{NOW},cat"]),
        ([f"key4,p,{OLD},dog", f"key4,p,{NOW},cat"], "cat", "0 new labels, 0 replaced, 1 there already",
         [f"key4,p,{OLD},dog", f"key4,p,{NOW},cat"]),
        ([f"key2,old,{NOW},cat"], "cat", "0 new labels, 0 replaced, 1 there already", [f"key2,old,{NOW},cat"]),
        ([f"key2,old,{NOW},"], "cat", "1 new labels, 0 replaced, 0 there already", [f"key4,old,{NOW},cat"]),
        ([f"1.2E+19,PATH,{NOW},"], "cat", "1 new labels, 0 replaced, 0 there already", [f"key4,PATH,{NOW},cat"]),
        ([f"1.2E+19,PATH,{NOW},cat"], "cat", "0 new labels, 0 replaced, 1 there already", [f"1.2E+19,PATH,{NOW},cat"]),
    ],
    ids=["replaced, same class", "replaced, another", "replaced, labelled anew", "renamed", "renamed, blank",
         "a spreadsheet's key", "a spreadsheet's key, labelled"],
)  # fmt: skip
def test_a_label_lands_on_the_row_of_its_image(rows, given, said, left):
    """The key of a row may be that of another picture now, or a number that a spreadsheet made of one."""
    path = '"' + path_of("key4").replace('"', '""') + '"'
    labelled("key,path,picture,label\n" + "".join(f"{row.replace('PATH', path)}\n" for row in rows))
    assert said in take(studio(({"key": "key4"}, {"ann": [given]})))
    assert FILE.read_text().splitlines()[1:] == [row.replace("PATH", path) for row in left]
    pick("key4")
    assert label_stage(*FROM_FILE)[0] == f"key,label\nkey4,{given}\n"


def test_what_the_page_said_of_a_label_goes_with_it():
    labelled("key,label,how,seconds\nkey3,dog,key,1.5\nkey4,dog,key,2.5\n")
    take("--replace", studio(({"key": "key3"}, {"ann": ["cat"]}), ({"key": "key4"}, {"ann": ["dog"]})))
    assert FILE.read_text().splitlines()[1:] == [f"key3,cat,,,,{PICTURES['key3']}", "key4,dog,key,2.5,,"]


def test_where_no_model_was_trained_the_labels_so_far_give_the_guesses():
    """Images are like those of the next number; what was said of the audit, which is key5, counts for none."""
    Path("data/train/pseudo_labels.csv").unlink()
    labelled("key,label\nkey0,cat\nkey1,[skip]\nkey2,cat\nkey5,dog\n")
    assert export("csv") == "csv: 2 images for csv, 2 of them with a guess"
    with Path("csv/picks.csv").open(newline="") as file:
        assert {row["key"]: row["guess"] for row in csv.DictReader(file)} == {"key4": "dog", "key3": "cat"}
    assert export("coco", *AUDIT) == "coco: 2 images for coco, 0 of them with a guess"


def test_classes_that_a_model_found_are_neither_guessed_nor_offered():
    write_json(Path("data/train/model.json"), {"discovered": ["cat"]})
    export("csv")
    with Path("csv/picks.csv").open(newline="") as file:
        assert {row["guess"] for row in csv.DictReader(file)} == {"", "ant & bee"}


def test_classes_in_params_are_offered():
    export("label-studio", "--set", "label.classes=[zebra]")
    assert '<Choice value="zebra"/>' in Path("label-studio/interface.xml").read_text()


@pytest.mark.parametrize("form", ["cvat", "folders"])
def test_a_class_with_a_control_sign_is_not_exported(form):
    says = "Error: class 'ze\\x01bra': expected a name without control signs, which other tools refuse"
    assert export(form, "--set", 'label.classes=["ze\\x01bra"]') == says
    assert not Path(form).exists()


def test_an_export_never_takes_the_place_of_a_folder():
    Path("csv").mkdir()
    assert export("csv") == (
        "Error: csv: expected a folder that is not there, as labels may be in it; name another by --out"
    )


def test_a_class_that_is_no_name_of_a_folder_is_no_way_out_of_it(caplog):
    from tests.exchange import small

    small.GUESSES.update(key1="../../cat", key3="guesses")
    try:
        Path("data/train/pseudo_labels.csv").unlink()
        Path("data/train").rmdir()
        small.with_guesses()
        export("folders")
    finally:
        small.GUESSES.update(key1="cat", key3="ant & bee")
    assert sorted(file.parent.name for file in Path("folders").rglob("*.png")) == ["unlabelled"] * 3
    assert "../../cat, guesses" in caplog.text
