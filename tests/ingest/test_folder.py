from pathlib import Path

import pytest

from pipeline.artifacts.attributes import Attributes
from tests.ingest.outcome import FIVE, FOLDER, IMAGES, OUT, answers, classes, manifest, paths, splits

GROUPS = "ingest.attributes=groups.csv"


def test_a_folder_for_each_class(ingest, fill):
    fill(IMAGES, [f"{name}/{file}" for name in ("b10", "b9") for file in (*FIVE, ".hidden.png")])
    ingest(FOLDER)
    assert answers() == {f"{name}/{file}": (name,) for name in ("b10", "b9") for file in FIVE}
    assert classes() == {"label": ["b9", "b10"]}
    assert sorted(splits().values()) == ["test"] * 2 + ["train"] * 8
    found = Attributes.read(OUT / "attributes.parquet", sorted(paths()))
    assert (list(found.group), found.cost) == ([""] * 10, None)


def test_nested_folders_are_coarser_levels(ingest, fill):
    fill(IMAGES, [f"{name}/{file}" for name in ("pets/cats", "pets/dogs", "wild/lions") for file in FIVE])
    ingest(FOLDER)
    assert answers()["pets/dogs/3.png"] == ("dogs", "pets")
    assert classes() == {"label": ["cats", "dogs", "lions"], "coarse": ["pets", "wild"]}


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        ("train test", {"train": "train", "test": "test"}),
        ("train val", {"train": "train", "val": "test"}),
        ("Train TEST", {"Train": "train", "TEST": "test"}),
        ("train test val", {"train": "train", "test": "test"}),
    ],
)
def test_train_and_test_folders_are_splits_and_val_is_left_out_beside_test(ingest, fill, folders, expected):
    fill(IMAGES, [f"{split}/{name}/{file}" for split in folders.split() for name in "ab" for file in FIVE])
    ingest(FOLDER)
    assert splits() == {f"{s}/{n}/{f}": expected[s] for s in expected for n in "ab" for f in FIVE}
    assert answers() == {f"{s}/{n}/{f}": (n,) for s in expected for n in "ab" for f in FIVE}
    assert classes() == {"label": ["a", "b"]}


def test_a_train_folder_with_nothing_beside_it_is_neither_class_nor_split(ingest, fill):
    fill(IMAGES, [f"train/{name}/{file}" for name in "ab" for file in FIVE])
    ingest(FOLDER)
    assert sorted(splits().values()) == ["test"] * 2 + ["train"] * 8
    assert classes() == {"label": ["a", "b"]}


@pytest.mark.parametrize(
    ("names", "table", "expected"),
    [
        (FIVE, None, {}),
        (FIVE, "path,label,coarse\n0.png, cat,pet \n 1.png,dog,pet\n2.png, ,\n0.png,cat,pet\n",
         {"0.png": ("cat", "pet"), "1.png": ("dog", "pet")}),
        ([f"{split}/{file}" for split in ("train", "test") for file in FIVE],
         "path,label\ntrain/0.png,cat\ntest/1.png,dog\n", {"train/0.png": ("cat",), "test/1.png": ("dog",)}),
        (["train/a/0.png", "train/b/0.png", "test/0.png", "test/1.png"], None,
         {"train/a/0.png": ("a",), "train/b/0.png": ("b",)}),
    ],
    ids=["no answers", "a table", "one table for both splits", "answers in one split"],
)  # fmt: skip
def test_some_images_may_have_an_answer(ingest, fill, names, table, expected):
    fill(IMAGES, names)
    if table:
        (IMAGES / "answers.csv").write_text(table)
    ingest(FOLDER)
    assert answers() == expected
    assert sorted(splits()) == sorted(names)
    assert classes()["label"] == sorted({answer[0] for answer in expected.values()})


def test_groups_stay_in_one_split(ingest, fill):
    fill(IMAGES, [f"{name}/{n}.png" for name in "ab" for n in range(20)])
    rows = [f"{name}/{n}.png,{n // 4}" for name in "ab" for n in range(20)]
    Path("groups.csv").write_text("path,group\n" + "\n".join(rows) + "\n")
    ingest(FOLDER, GROUPS)
    assert sorted(splits().values()).count("test") == 8
    for group in range(5):
        assert len({splits()[f"{name}/{n}.png"] for name in "ab" for n in range(4 * group, 4 * group + 4)}) == 1


def test_groups_and_costs_travel_to_the_selection(ingest, fill):
    """Those of an image that cannot be read are left out with it."""
    fill(IMAGES, FIVE)
    fill(IMAGES, {"bad.png": b""})
    rows = "0.png,anna,2.5\n1.png,,1\n2.png,ben,3\n3.png,ben,1\n4.png,,1\nbad.png,anna,1\n"
    Path("groups.csv").write_text(f"path,group,cost\n{rows}")
    ingest(FOLDER, GROUPS)
    found = Attributes.read(OUT / "attributes.parquet", sorted(paths()))
    rows = zip(found.key, found.group, found.cost, strict=True)
    expected = {("0.png", "anna", 2.5), ("1.png", "", 1), ("2.png", "ben", 3), ("3.png", "ben", 1), ("4.png", "", 1)}
    assert {(paths()[key], group, cost) for key, group, cost in rows} == expected


def test_links_to_folders_are_followed(ingest, fill):
    fill(Path("elsewhere"), FIVE)
    fill(IMAGES, [f"a/{file}" for file in FIVE])
    (IMAGES / "b").symlink_to(Path("elsewhere").resolve())
    ingest(FOLDER)
    assert answers()["b/4.png"] == ("b",)


def test_a_missing_folder_an_empty_one_and_a_loop_of_links(refusal, fill):
    assert refusal(FOLDER) == "data/images: expected a folder, found none"
    IMAGES.mkdir(parents=True)
    assert refusal(FOLDER) == "data/images: expected images, found none"
    fill(IMAGES, ["cats/0.png"])
    (IMAGES / "cats" / "all").symlink_to(IMAGES.resolve())
    assert refusal(FOLDER) == "data/images/cats/all: expected a folder, got a link to a folder that contains it"


ALONE = "beside it, as for a split, found none; a class needs another name"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("cats/0.png dogs/.hidden", "/dogs: expected a class folder with images, found it empty"),
        ("cats/0.png x.png", ": expected images or class folders, got both: x.png and cats"),
        ("cats/0.png dogs/big/0.png",
         ": expected class folders of one depth, got data/images/cats and data/images/dogs/big"),
        ("cats/other/0.png dogs/other/0.png", ": other: expected one class above it, got cats and dogs"),
        ("train/0.png test/0.png x.png", "/x.png: expected train, test or val, as other sub-folders say, got neither"),
        ("train/0.png bus/0.png", f"/train: expected test or val {ALONE}"),
        ("Train/0.png bus/0.png", f"/Train: expected test or val {ALONE}"),
        ("bus/0.png test/0.png", f"/test: expected train {ALONE}"),
        ("test/0.png val/0.png", f"/test: expected train {ALONE}"),
    ],
)  # fmt: skip
def test_folders_that_do_not_fit(refusal, fill, names, says):
    fill(IMAGES, names.split())
    assert refusal(FOLDER) == f"data/images{says}"


def test_names_and_numbers_that_do_not_fit(refusal, fill):
    fill(IMAGES, ["a\nb.png", "c.png"])
    assert refusal(FOLDER) == r"'a\nb.png': expected names of one line in UTF-8, got 'a\nb.png'"
    fill(Path("few"), ["a/0.png", "b/0.png"])
    assert refusal(FOLDER, "ingest.folder.path=few") == (
        "ingest: expected images to train and to test, got 2 to train, 0 to test and 0 that cannot be read; "
        "see ingest.test_fraction"
    )


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("path,label\n9.png,cat\n", "9.png: expected an image of that path, found none"),
        ("path,label\n1.png,cat\n1.png,dog\n", "1.png: expected one label, got 'cat' and 'dog'"),
        ("file,label\n1.png,cat\n", "expected the columns path,label, got file,label"),
    ],
)
def test_answers_that_do_not_fit(refusal, fill, table, says):
    fill(IMAGES, FIVE)
    (IMAGES / "answers.csv").write_text(table)
    assert refusal(FOLDER) == f"data/images/answers.csv: {says}"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("\n0.png,anna\n9.png,ben\n", "9.png: expected an image of that path, found none"),
        ("\n0.png,anna\n0.png,ben\n", "0.png: expected one group, got 'anna' and 'ben'"),
        ("\n0.png,anna\n0.png,\n", "0.png: expected one group, got 'anna' and ''"),
        (",cost\n0.png,anna,0\n", "0.png: expected a cost above 0, got '0'"),
        (",cost\n0.png,anna,dear\n", "0.png: expected a cost above 0, got 'dear'"),
        (",cost\n0.png,anna,inf\n", "0.png: expected a cost above 0, got 'inf'"),
        (",cost\n0.png,a,1\n1.png,,1\n2.png,,1\n4.png,,1\n", "3.png: expected a cost for every image, found none"),
    ],
)
def test_groups_and_costs_that_do_not_fit(refusal, fill, table, says):
    fill(IMAGES, FIVE)
    Path("groups.csv").write_text(f"path,group{table}")
    assert refusal(FOLDER, GROUPS) == f"groups.csv: {says}"


def test_a_group_in_both_of_the_sources_splits(refusal, fill):
    fill(IMAGES, ["train/0.png", "test/0.png"])
    Path("groups.csv").write_text("path,group\ntrain/0.png,anna\ntest/0.png,anna\n")
    assert refusal(FOLDER, GROUPS) == "groups.csv: anna: expected a group in one split, got it in both"


def test_mode_and_size_are_those_of_all_images(ingest, fill, picture, caplog):
    fill(IMAGES, {f"{n}.png": picture(n, channels=1) for n in range(5)})

    def made(*sets):
        ingest(FOLDER, *sets)
        return manifest().channels, manifest().size

    assert made() == (1, (8, 8))
    assert made("ingest.mode=rgb", "ingest.size=12") == (3, (12, 12))
    assert made("ingest.max_side=4") == (1, (4, 4))
    fill(IMAGES, {"5.png": picture(5)})
    assert made() == (3, (8, 8))
    assert made("ingest.mode=grey") == (1, (8, 8))
    caplog.set_level("INFO")
    fill(IMAGES, {"6.png": picture(6, size=(9, 8))})
    assert made() == (3, (64, 64))
    assert caplog.messages == [
        "ingest: the images are not squares of one size, so networks see 64 x 64 (ingest.size)",
        "ingest: folder: 6 to train, 1 to test; rgb, 64 x 64; 0 left out",
    ]
