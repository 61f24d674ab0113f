from pathlib import Path

import pytest

from tests.ingest.outcome import FOLDER, IMAGES, answers, classes

FILE = "ingest.hierarchy=tree.csv"
ABOVE = {"cat": ("pet", "animal"), "dog": ("pet", "animal"), "car": ("vehicle", "thing")}
GOOD = "label,coarse,coarse2\n" + "".join(f"{name},{','.join(above)}\n" for name, above in ABOVE.items())


@pytest.fixture(autouse=True)
def _images(fill):
    fill(IMAGES, [f"{name}/{n}.png" for name in ("cat", "dog", "car") for n in range(5)])


def test_it_gives_the_levels_above_each_class(ingest):
    Path("tree.csv").write_text(GOOD)
    ingest(FOLDER, FILE)
    assert answers() == {f"{name}/{n}.png": (name, *ABOVE[name]) for name in ABOVE for n in range(5)}
    names = {"label": ["car", "cat", "dog"], "coarse": ["pet", "vehicle"], "coarse2": ["animal", "thing"]}
    assert classes() == names


def test_it_takes_the_place_of_a_sources_own_levels_and_leaves_its_order_of_classes(ingest):
    shape = {str(digit): "round" if digit in (0, 6, 8, 9) else "straight" for digit in range(10)}
    Path("tree.csv").write_text("label,coarse\n" + "".join(f"{n},{shape[n]}\n" for n in reversed(shape)))
    ingest("ingest.source=digits", FILE)
    assert classes() == {"label": list(shape), "coarse": ["round", "straight"]}
    assert set(answers().values()) == set(shape.items())


def test_images_without_an_answer_stay_without(ingest, fill):
    fill(Path("flat"), [f"{n}.png" for n in range(10)])
    Path("flat/answers.csv").write_text("path,label\n0.png,cat\n1.png,car\n2.png,dog\n")
    Path("tree.csv").write_text(GOOD)
    ingest(FOLDER, "ingest.folder.path=flat", FILE)
    assert answers() == {f"{n}.png": (name, *ABOVE[name]) for n, name in enumerate(("cat", "car", "dog"))}


OF_SOURCE = "expected a class of the source, which has car, cat, dog"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("dog,pet,animal\n", ""), "expected a row for every class, found none for dog"),
        (GOOD.replace("dog", "dgo"), f"dgo: {OF_SOURCE}"),
        (GOOD + "cow,farm,animal\n", f"cow: {OF_SOURCE}"),
        (GOOD + "cat,beast,animal\n", "cat: expected one class above it, got pet and beast"),
        (GOOD.replace("dog,pet,animal", "dog,pet,thing"), "pet: expected one class above it, got animal and thing"),
        (GOOD.replace("dog,pet", "dog,"), "dog: expected a class at each level, got an empty cell"),
        ("label\ncat\n", "expected the columns label,coarse, got label"),
        (GOOD.replace("coarse2", "knn"), "expected the columns label,coarse,coarse2, got label,coarse,knn"),
        (None, "expected a file, found none"),
    ],
)
def test_refusals(refusal, text, says):
    if text is not None:
        Path("tree.csv").write_text(text)
    assert refusal(FOLDER, FILE) == f"tree.csv: {says}"
