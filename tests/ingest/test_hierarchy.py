import json
from pathlib import Path

import pytest

from pipeline.artifacts.labels import Labels, Sources

FOLDER = "ingest.source=folder"
OUT = Path("data/ingest")
FILE = "ingest.hierarchy=tree.csv"
GOOD = "label,coarse,coarse2\ncat,pet,animal\ndog,pet,animal\ncar,vehicle,thing\n"


@pytest.fixture(autouse=True)
def _images(fill):
    fill(Path("data/images"), [f"{name}/{n}.png" for name in ("cat", "dog", "car") for n in range(5)])


def answers():
    table, paths = Labels.read(OUT / "answers.csv"), Sources.read(OUT / "sources.csv").path
    return table.levels, {paths[key]: tuple(names) for key, names in table.rows.items()}


def test_it_gives_the_levels_above_each_class(ingest):
    Path("tree.csv").write_text(GOOD)
    assert ingest(FOLDER, FILE).exit_code == 0
    levels, rows = answers()
    assert list(levels) == ["label", "coarse", "coarse2"]
    above = {"cat": ("pet", "animal"), "dog": ("pet", "animal"), "car": ("vehicle", "thing")}
    assert rows == {f"{name}/{n}.png": (name, *above[name]) for name in above for n in range(5)}
    assert json.loads((OUT / "classes.json").read_text()) == {
        "label": ["car", "cat", "dog"],
        "coarse": ["pet", "vehicle"],
        "coarse2": ["animal", "thing"],
    }


def test_it_takes_the_place_of_a_sources_own_levels_and_leaves_its_order_of_classes(ingest):
    rows = "".join(f"{digit},{'round' if digit in (0, 6, 8, 9) else 'straight'}\n" for digit in range(9, -1, -1))
    Path("tree.csv").write_text(f"label,coarse\n{rows}")
    assert ingest("ingest.source=digits", FILE).exit_code == 0
    classes = {"label": [str(digit) for digit in range(10)], "coarse": ["round", "straight"]}
    assert json.loads((OUT / "classes.json").read_text()) == classes
    assert {names for _, names in answers()[1].items()} == {
        (str(digit), "round" if digit in (0, 6, 8, 9) else "straight") for digit in range(10)
    }


def test_images_without_an_answer_stay_without(ingest, fill, picture):
    fill(Path("flat"), {f"{n}.png": picture(n) for n in range(10)})
    Path("flat/answers.csv").write_text("path,label\n0.png,cat\n1.png,car\n2.png,dog\n")
    Path("tree.csv").write_text(GOOD)
    assert ingest(FOLDER, "ingest.folder.path=flat", FILE).exit_code == 0
    assert sorted(answers()[1].values()) == [
        ("car", "vehicle", "thing"), ("cat", "pet", "animal"), ("dog", "pet", "animal"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("dog,pet,animal\n", ""), "tree.csv: expected a row for every class, found none for dog"),
        (
            GOOD.replace("dog", "dgo"),
            "tree.csv: dgo: expected a class of the source, which has car, cat, dog",
        ),
        (GOOD + "cow,farm,animal\n", "tree.csv: cow: expected a class of the source, which has car, cat, dog"),
        (GOOD + "cat,beast,animal\n", "tree.csv: cat: expected one class above it, got pet and beast"),
        (
            GOOD.replace("dog,pet,animal", "dog,pet,thing"),
            "tree.csv: pet: expected one class above it, got animal and thing",
        ),
        (GOOD.replace("dog,pet", "dog,"), "tree.csv: dog: expected a class at each level, got an empty cell"),
        ("label\ncat\n", "tree.csv: expected the columns label,coarse, got label"),
        (GOOD.replace("coarse2", "knn"), "tree.csv: expected the columns label,coarse,coarse2, got label,coarse,knn"),
        (None, "tree.csv: expected a file, found none"),
    ],
)
def test_refusals(ingest, text, says):
    if text is not None:
        Path("tree.csv").write_text(text)
    result = ingest(FOLDER, FILE)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"Error: {says}"
    assert not OUT.exists()
