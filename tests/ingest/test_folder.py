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
        ("training testing", {"training": "train", "testing": "test"}),
        ("train2017 Validation2017", {"train2017": "train", "Validation2017": "test"}),
        ("1_train 2-dev", {"1_train": "train", "2-dev": "test"}),
        ("dogsTrain dogs_valid", {"dogsTrain": "train", "dogs_valid": "test"}),
        ("all/train all/val", {"all/train": "train", "all/val": "test"}),
    ],
)
def test_train_and_test_folders_are_splits_and_val_is_left_out_beside_test(ingest, fill, folders, expected):
    fill(IMAGES, [f"{split}/{name}/{file}" for split in folders.split() for name in "ab" for file in FIVE])
    ingest(FOLDER)
    assert splits() == {f"{s}/{n}/{f}": expected[s] for s in expected for n in "ab" for f in FIVE}
    assert answers() == {f"{s}/{n}/{f}": (n,) for s in expected for n in "ab" for f in FIVE}
    assert classes() == {"label": ["a", "b"]}


@pytest.mark.parametrize("names", ["{name}/{split}/{file}", "{split}_{name}{file}"], ids=["in classes", "files"])
def test_splits_below_classes_and_in_the_names_of_files(ingest, fill, names):
    fill(IMAGES, [names.format(split=s, name=n, file=f) for s in ("train", "test") for n in "ab" for f in FIVE])
    ingest(FOLDER)
    assert {split: ("train" in path) for path, split in splits().items()} == {"train": True, "test": False}
    assert classes()["label"] == (["a", "b"] if "/" in names else [])


def test_a_class_may_have_such_a_word_in_its_name(ingest, fill, caplog):
    caplog.set_level("INFO")
    fill(IMAGES, [f"{name}/{file}" for name in ("freight train", "test tube", "trainers", "latest") for file in FIVE])
    ingest(FOLDER)
    assert classes() == {"label": ["freight train", "latest", "test tube", "trainers"]}
    assert (
        "ingest: 0.2 of the images, chosen by their names alone, are to test (ingest.test_fraction)" in caplog.messages
    )


@pytest.mark.parametrize("folder", ["train", "training_2"])
def test_a_train_folder_with_nothing_beside_it_is_neither_class_nor_split(ingest, fill, folder):
    fill(IMAGES, [f"{folder}/{name}/{n}.png" for name in "ab" for n in range(20)])
    ingest(FOLDER)
    assert {splits()[f"{folder}/{name}/{n}.png"] for name in "ab" for n in range(20)} == {"train", "test"}
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
        (["a/0.png", "b/0.png", "b/1.png", "x.png", "unlabeled/0.png", "No-Label/deep/0.png"], None,
         {"a/0.png": ("a",), "b/0.png": ("b",), "b/1.png": ("b",)}),
        (["train/a/0.png", "test/a/0.png", "unlabelled/0.png"], None,
         {"train/a/0.png": ("a",), "test/a/0.png": ("a",)}),
        (FIVE, "path,label\n0.png,cat\n1.png,-1\n2.png,NaN\n3.png,unknown\n4.png, \n", {"0.png": ("cat",)}),
        (FIVE, "path,label\n0.png,cat\n1.png,Cat \n2.png,c\u200bat\n", {f"{n}.png": ("cat",) for n in range(3)}),
    ],
    ids=["no answers", "a table", "one table for both splits", "answers in one split", "beside classes",
         "beside splits", "words for no label", "one class"],
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
    fill(IMAGES, [f"{name}/{n}.png" for name in "ab" for n in range(40)])
    rows = [f"{name}/{n}.png,{n // 4}" for name in "ab" for n in range(40)]
    Path("groups.csv").write_text("path,group\n" + "\n".join(rows) + "\n")
    ingest(FOLDER, GROUPS)
    assert {*splits().values()} == {"train", "test"}
    for group in range(10):
        assert len({splits()[f"{name}/{n}.png"] for name in "ab" for n in range(4 * group, 4 * group + 4)}) == 1


def test_answers_and_images_that_come_later_move_no_image(ingest, fill):
    def answered(*names):
        (IMAGES / "answers.csv").write_text("path,label\n" + "".join(f"{name},cat\n" for name in names))
        ingest(FOLDER)
        return splits()

    fill(IMAGES, [f"{n}.png" for n in range(20)])
    ingest(FOLDER)
    assert {*splits().values()} == {"train"}
    first = answered("3.png")
    assert {*first.values()} == {"train", "test"}
    index = (OUT / "index.parquet").read_bytes()
    assert answered(*first) == first
    assert (OUT / "index.parquet").read_bytes() == index
    fill(IMAGES, [f"{n}.png" for n in range(20, 40)])
    assert first.items() <= answered(*first).items()


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
    (IMAGES / "cats" / "all").unlink()
    (IMAGES / "dogs").symlink_to("/no/disk")
    gone = "got a link to /no/disk, which is not there"
    assert refusal(FOLDER) == f"data/images/dogs: expected a folder or an image, {gone}"
    assert refusal(FOLDER, "ingest.folder.path=data/images/dogs").endswith(
        gone.replace("got", "expected a folder, found")
    )


LIKE = "expected a split's name with one of the words train, val and test in it, or a name that looks like none"
ALONE = "beside it, as for a split, found none; a class needs another name"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("cats/0.png dogs/.hidden", "/dogs: expected a class folder with images, found it empty"),
        ("cats/0.png dogs/big/0.png",
         ": expected class folders of one depth, got data/images/cats and data/images/dogs/big; move them to one, or "
         "name the classes in answers.csv"),
        ("trainset/0.png testset/0.png", f"/testset: {LIKE}, got testset: rename it"),
        ("a/0.png train_val/0.png", f"/train_val: {LIKE}, got train_val: rename it"),
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
    assert refusal(FOLDER) == r"'a\nb.png': expected names of one line in UTF-8, got 'a\nb.png': rename it"
    fill(Path("few"), ["a/0.png", "b/0.png"])
    assert refusal(FOLDER, "ingest.folder.path=few", "ingest.test_fraction=0.999") == (
        "ingest: expected images to train, got 2 to test and 0 that cannot be read; see ingest.test_fraction"
    )


LITTER = [
    *(
        "Thumbs.db",
        "a/.DS_Store",
        "__MACOSX/a/._0.png",
        "a/@eaDir/0.png/x.png",
        "desktop.ini",
        "a/0.png.xmp",
        "a/0.json",
    ),
    *("a/film.MP4", "readme.txt", "a/old.zip", "a/x.npy", "$RECYCLE.BIN/0.png", "a/.ipynb_checkpoints/0.png"),
]


def test_what_else_lies_in_folders_is_no_bad_image(ingest, fill, caplog):
    caplog.set_level("INFO")
    fill(IMAGES, [f"{name}/{file}" for name in "ab" for file in FIVE])
    fill(IMAGES, dict.fromkeys(LITTER, b"x"))
    ingest(FOLDER, "ingest.max_bad=0")
    assert sorted(splits()) == [f"{name}/{file}" for name in "ab" for file in FIVE]
    assert caplog.messages[0] == (
        "ingest: passed over in data/images, as they are no images: hidden and system files (7: $RECYCLE.BIN, "
        "Thumbs.db, __MACOSX, a/.DS_Store, a/.ipynb_checkpoints and 2 more), sidecars (2: .json, .xmp), videos "
        "(1: .mp4), archives (1: a/old.zip), arrays (1: .npy), texts (1: .txt)"
    )


def test_dots_among_images_are_said(ingest, fill, picture, tar, caplog):
    fill(IMAGES, {**dict.fromkeys(["a.png", "b.png"], picture(0, size=(1, 7))), "c.png": picture(1, size=(2, 8))})
    ingest(FOLDER)
    tar("x.tar", [("0.png", picture(0, size=(1, 1))), ("1.png", picture(1))])
    ingest("ingest.source=shards", f"ingest.shards.path={IMAGES}")
    assert [line for line in caplog.messages if "smaller" in line] == [
        "ingest: images smaller than 8 pixels: 2 (a.png, b.png)",
        "ingest: images smaller than 8 pixels: 1 (x.tar/0)",
    ]


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
        "ingest: no image has an answer, so all are to train and none is held out for a test",
        "ingest: the images are not squares of one size, so networks see 64 x 64 (ingest.size)",
        "ingest: folder: 7 to train, 0 to test; rgb, 64 x 64; 0 left out",
    ]
