"""Files that the tools wrote, and ours as the tools read them: see real/README.md."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from pipeline.exchange.formats import FORMATS
from tests.exchange.small import AUDIT, export, labels, name_of, take
from tests.imports import ROOT

PAGE = (ROOT / "docs/guide/exchange.md").read_text()
REAL, WRITTEN = ROOT / "tests/exchange/real", ROOT / "tests/exchange/written"
DOG, SEVERAL = {"key4": "dog"}, '1 images are left out, as one person gave several classes: some, "odd" <b>/key1.png'
THREE = {"key1": "cat", "key4": "dog", "key5": "[unusable]"}
STUDIO = {"key0": "cat", "key3": "ant & bee", "key4": "dog", "key5": "[unusable]"}
TIE = 'as no class has most votes: some, "odd" <b>/key1.png (cat, dog)'


@pytest.mark.parametrize(
    ("file", "wanted", "said"),
    [
        ("label_studio.json", STUDIO, TIE),
        ("label_studio.csv", STUDIO, TIE),
        ("cvat_datumaro.xml", DOG, SEVERAL),
        ("cvat_fiftyone.xml", THREE, "3 answers in the format cvat"),
        ("coco_datumaro.json", DOG, SEVERAL),
        ("fiftyone_one.json", THREE, "3 answers in the format fiftyone"),
        ("fiftyone_numbers.json", THREE, "3 answers in the format fiftyone"),
        ("fiftyone_several.json", DOG, SEVERAL),
        ("lightly_studio.csv", {"key1": "cat", "key4": "dog"}, "and 1 guesses that nobody confirmed"),
    ],
)
def test_what_a_tool_wrote_is_read(file, wanted, said, caplog):
    caplog.set_level("INFO")
    assert take(REAL / file).startswith(f"data/annotations/labels.csv: {len(wanted)} new labels, 0 replaced")
    assert labels() == wanted
    assert said in caplog.text


def test_people_are_named_with_how_far_they_agree(caplog):
    caplog.set_level("INFO")
    take(REAL / "label_studio.json")
    assert "2 images have a class from several people" in caplog.text  # of the third one of them skipped it
    assert "1 answered 5; on 1 of 1 that others answered too as most did" in caplog.text


def test_guesses_of_a_tool_are_no_answers():
    assert take(REAL / "fiftyone_guess.json").endswith("got none, of which 2 are guesses that nobody confirmed")


@pytest.mark.parametrize("form", ["label-studio", "cvat", "fiftyone", "coco", "csv", "folders"])
def test_an_export_is_what_the_tools_read_and_guesses_come_back_as_none(form):
    assert export(form, *AUDIT) == f"{form}: 4 images for {form}, 2 of them with a guess"
    files = [file for file in sorted(Path(form).rglob("*")) if file.is_file()]
    texts = {str(file): file.read_text() for file in files if file.suffix != ".png"}
    assert texts == {str(file.relative_to(WRITTEN)): file.read_text() for file in (WRITTEN / form).rglob("*.*")}
    pictures = [file for file in files if file.suffix == ".png"]
    assert sorted(file.name for file in pictures) == sorted(map(name_of, ("key1", "key3", "key4", "key5")))
    assert "expected a label for one image at least, got none" in take(form)


def test_class_folders_count_what_was_moved_out_of_the_guesses():
    export("folders", *AUDIT)
    assert Path("folders/unlabelled", name_of("key5")).is_file()  # of the audit: no guess sways it
    Path("folders/guesses/cat", name_of("key1")).rename(Path("folders/cat", name_of("key1")))
    Path("folders/unlabelled", name_of("key4")).rename(Path("folders/[unusable]", name_of("key4")))
    take("folders")
    assert labels() == {"key1": "cat", "key4": "[unusable]"}


def test_the_guide_names_every_format_and_what_an_export_makes():
    rows = dict(re.findall(r"^\| `([a-z][\w-]*)` \| (.*?) \| .*\|$", PAGE.split("## Guesses")[0], re.MULTILINE))
    assert rows.keys() == FORMATS.keys()
    for form, cell in rows.items():
        export(form)
        assert [name for name in re.findall("`(.*?)`", cell) if not Path(form, name).exists()] == []


def test_the_guides_commands_run():
    shutil.copy(REAL / "label_studio.json", "export.json")
    out, back = [shlex.split(line, comments=True) for line in re.findall(r"python -m stages.(\w+_labels .*)", PAGE)[:2]]
    assert (out[0], back[0]) == ("export_labels", "import_labels")
    assert export(out[2], *out[3:]) == "picks: 3 images for label-studio, 2 of them with a guess"
    assert take(*back[1:]).startswith("data/annotations/labels.csv: 4 new labels")
