from pathlib import Path

import pytest

from pipeline.artifacts.attributes import Attributes
from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.shards import Index, Manifest

FOLDER = "ingest.source=folder"
OUT = Path("data/ingest")
IMAGES = Path("data/images")
FIVE = [f"{n}.png" for n in range(5)]


def answers():
    """{path: answer} of what was ingested."""
    paths = Sources.read(OUT / "sources.csv").path
    return {paths[key]: tuple(names) for key, names in Labels.read(OUT / "answers.csv").rows.items()}


def splits():
    """{path: split} of what was ingested."""
    paths = Sources.read(OUT / "sources.csv").path
    index = Index.read(OUT / "index.parquet")
    return {paths[key]: split for key, split in zip(index.key, index.split, strict=True)}


def test_a_folder_for_each_class(ingest, fill):
    fill(IMAGES, [f"{name}/{file}" for name in ("b10", "b9") for file in (*FIVE, ".hidden.png")])
    assert ingest(FOLDER).exit_code == 0
    assert answers() == {f"{name}/{file}": (name,) for name in ("b10", "b9") for file in FIVE}
    assert Classes.read(OUT / "classes.json").names == {"label": ["b9", "b10"]}
    assert sorted(splits().values()) == ["test"] * 2 + ["train"] * 8


def test_nested_folders_are_coarser_levels(ingest, fill):
    fill(IMAGES, [f"{name}/{file}" for name in ("pets/cats", "pets/dogs", "wild/lions") for file in FIVE])
    assert ingest(FOLDER).exit_code == 0
    assert answers()["pets/dogs/3.png"] == ("dogs", "pets")
    names = Classes.read(OUT / "classes.json").names
    assert names == {"label": ["cats", "dogs", "lions"], "coarse": ["pets", "wild"]}


@pytest.mark.parametrize("test", ["test", "val"])
def test_train_and_test_folders_are_splits(ingest, fill, test):
    fill(IMAGES, [f"{split}/{name}/{file}" for split in ("train", test) for name in "ab" for file in FIVE])
    assert ingest(FOLDER).exit_code == 0
    expected = {"train": "train", test: "test"}
    assert splits() == {f"{s}/{n}/{f}": expected[s] for s in expected for n in "ab" for f in FIVE}
    assert answers()[f"{test}/b/0.png"] == ("b",)


def test_val_is_left_out_beside_test(ingest, fill):
    fill(IMAGES, [f"{split}/{name}/0.png" for split in ("train", "test", "val") for name in "ab"])
    assert ingest(FOLDER).exit_code == 0
    assert len(splits()) == 4


def test_capitals_do_not_hide_a_split(ingest, fill):
    fill(IMAGES, [f"{split}/{name}/0.png" for split in ("Train", "TEST") for name in "ab"])
    assert ingest(FOLDER).exit_code == 0
    assert splits() == {f"{s}/{n}/0.png": s.lower() for s in ("Train", "TEST") for n in "ab"}
    assert Classes.read(OUT / "classes.json").names == {"label": ["a", "b"]}


def test_a_train_folder_with_nothing_beside_it_is_neither_class_nor_split(ingest, fill):
    fill(IMAGES, [f"train/{name}/{file}" for name in "ab" for file in FIVE])
    assert ingest(FOLDER).exit_code == 0
    assert sorted(splits().values()) == ["test"] * 2 + ["train"] * 8
    assert Classes.read(OUT / "classes.json").names == {"label": ["a", "b"]}


def test_a_flat_folder_without_answers(ingest, fill):
    fill(IMAGES, FIVE)
    assert ingest(FOLDER).exit_code == 0
    assert (OUT / "answers.csv").read_text() == "key,label\n"
    assert Classes.read(OUT / "classes.json").names == {"label": []}
    assert sorted(splits().values()) == ["test"] + ["train"] * 4


def test_a_flat_folder_with_answers(ingest, fill):
    fill(IMAGES, FIVE)
    (IMAGES / "answers.csv").write_text("path,label,coarse\n0.png, cat,pet \n 1.png,dog,pet\n2.png, ,\n0.png,cat,pet\n")
    assert ingest(FOLDER).exit_code == 0
    assert answers() == {"0.png": ("cat", "pet"), "1.png": ("dog", "pet")}
    assert len(splits()) == 5


def test_one_table_may_answer_both_splits(ingest, fill):
    fill(IMAGES, [f"{split}/{file}" for split in ("train", "test") for file in FIVE])
    (IMAGES / "answers.csv").write_text("path,label\ntrain/0.png,cat\ntest/1.png,dog\n")
    assert ingest(FOLDER).exit_code == 0
    assert answers() == {"train/0.png": ("cat",), "test/1.png": ("dog",)}


def test_splits_may_differ_in_what_is_known(ingest, fill):
    fill(IMAGES, ["train/a/0.png", "train/b/0.png", "test/0.png", "test/1.png"])
    assert ingest(FOLDER).exit_code == 0
    assert answers() == {"train/a/0.png": ("a",), "train/b/0.png": ("b",)}


def test_groups_stay_in_one_split(ingest, fill):
    fill(IMAGES, [f"{name}/{n}.png" for name in "ab" for n in range(20)])
    rows = [f"{name}/{n}.png,{n // 4}" for name in "ab" for n in range(20)]
    Path("groups.csv").write_text("path,group\n" + "\n".join(rows) + "\n")
    assert ingest(FOLDER, "ingest.attributes=groups.csv").exit_code == 0
    found = splits()
    assert sorted(found.values()).count("test") == 8
    for group in range(5):
        assert len({found[f"{name}/{n}.png"] for name in "ab" for n in range(4 * group, 4 * group + 4)}) == 1


def test_groups_and_costs_travel_to_the_selection(ingest, fill):
    fill(IMAGES, FIVE)
    Path("groups.csv").write_text("path,group,cost\n0.png,anna,2.5\n1.png,,1\n2.png,ben,3\n3.png,ben,1\n4.png,,1\n")
    assert ingest(FOLDER, "ingest.attributes=groups.csv").exit_code == 0
    paths = Sources.read(OUT / "sources.csv").path
    found = Attributes.read(OUT / "attributes.parquet", sorted(paths))
    by_path = {paths[key]: row for key, row in zip(found.key, zip(found.group, found.cost, strict=True), strict=True)}
    assert by_path == {"0.png": ("anna", 2.5), "1.png": ("", 1), "2.png": ("ben", 3), "3.png": ("ben", 1),
                       "4.png": ("", 1)}  # fmt: skip


def test_without_a_table_of_attributes_there_are_no_groups_and_no_costs(ingest, fill):
    fill(IMAGES, FIVE)
    assert ingest(FOLDER).exit_code == 0
    found = Attributes.read(OUT / "attributes.parquet", sorted(Sources.read(OUT / "sources.csv").path))
    assert (list(found.group), found.cost) == ([""] * 5, None)


def test_an_image_that_cannot_be_read_may_have_a_group(ingest, fill):
    fill(IMAGES, {"bad.png": b""})
    fill(IMAGES, FIVE)
    Path("groups.csv").write_text("path,group\nbad.png,anna\n0.png,anna\n")
    assert ingest(FOLDER, "ingest.attributes=groups.csv").exit_code == 0
    assert len(splits()) == 5


def test_links_to_folders_are_followed(ingest, fill):
    fill(Path("elsewhere"), FIVE)
    fill(IMAGES, [f"a/{file}" for file in FIVE])
    (IMAGES / "b").symlink_to(Path("elsewhere").resolve())
    assert ingest(FOLDER).exit_code == 0
    assert answers()["b/4.png"] == ("b",)


def test_a_missing_folder(refusal):
    assert refusal(FOLDER) == "data/images: expected a folder, found none"


def test_a_folder_without_images(refusal):
    IMAGES.mkdir(parents=True)
    assert refusal(FOLDER) == "data/images: expected images, found none"


class TestRefusals:
    """Each leaves the user's images alone, and makes nothing."""

    def says(self, ingest, *sets):
        result = ingest(FOLDER, *sets)
        assert result.exit_code == 1
        assert not list(Path().rglob("*.tar"))
        assert not OUT.exists()
        assert not list(Path().rglob("*.part"))
        return result.stderr.splitlines()[-1].removeprefix("Error: ")

    def test_an_empty_class_folder(self, ingest, fill):
        fill(IMAGES, ["cats/0.png", "dogs/.hidden"])
        says = self.says(ingest)
        assert says == "data/images/dogs: expected a class folder with images, found it empty"

    def test_images_beside_class_folders(self, ingest, fill):
        fill(IMAGES, ["cats/0.png", "x.png"])
        says = self.says(ingest)
        assert says == "data/images: expected images or class folders, got both: x.png and cats"

    def test_folders_of_two_depths(self, ingest, fill):
        fill(IMAGES, ["cats/0.png", "dogs/big/0.png"])
        says = self.says(ingest)
        assert says == "data/images: expected class folders of one depth, got data/images/cats and data/images/dogs/big"

    def test_a_class_below_two_others(self, ingest, fill):
        fill(IMAGES, ["cats/other/0.png", "dogs/other/0.png"])
        assert self.says(ingest) == "data/images: other: expected one class above it, got cats and dogs"

    def test_a_loop_of_links(self, ingest, fill):
        fill(IMAGES, ["cats/0.png"])
        (IMAGES / "cats" / "all").symlink_to(IMAGES.resolve())
        says = self.says(ingest)
        assert says == "data/images/cats/all: expected a folder, got a link to a folder that contains it"

    def test_a_file_beside_the_splits(self, ingest, fill):
        fill(IMAGES, ["train/0.png", "test/0.png", "x.png"])
        says = self.says(ingest)
        assert says == "data/images/x.png: expected train, test or val, as other sub-folders say, got neither"

    @pytest.mark.parametrize(
        ("names", "says"),
        [
            (("train", "bus"), "train: expected test or val"),
            (("Train", "bus"), "Train: expected test or val"),
            (("bus", "test"), "test: expected train"),
            (("test", "val"), "test: expected train"),
        ],
    )
    def test_a_split_without_its_partner(self, ingest, fill, names, says):
        fill(IMAGES, [f"{name}/{file}" for name in names for file in FIVE])
        end = "beside it, as for a split, found none; a class needs another name"
        assert self.says(ingest) == f"data/images/{says} {end}"

    def test_a_row_without_an_image(self, ingest, fill):
        fill(IMAGES, FIVE)
        (IMAGES / "answers.csv").write_text("path,label\n9.png,cat\n")
        says = self.says(ingest)
        assert says == "data/images/answers.csv: 9.png: expected an image of that path, found none"

    def test_two_labels_for_an_image(self, ingest, fill):
        fill(IMAGES, FIVE)
        (IMAGES / "answers.csv").write_text("path,label\n1.png,cat\n1.png,dog\n")
        says = self.says(ingest)
        assert says == "data/images/answers.csv: 1.png: expected one label, got 'cat' and 'dog'"

    def test_a_table_without_its_columns(self, ingest, fill):
        fill(IMAGES, FIVE)
        (IMAGES / "answers.csv").write_text("file,label\n1.png,cat\n")
        says = self.says(ingest)
        assert says == "data/images/answers.csv: expected the columns path,label, got file,label"

    def test_a_name_of_two_lines(self, ingest, fill):
        fill(IMAGES, ["a\nb.png", "c.png"])
        assert self.says(ingest) == r"'a\nb.png': expected names of one line in UTF-8, got 'a\nb.png'"

    def test_a_single_image_of_each_class(self, ingest, fill):
        fill(IMAGES, ["a/0.png", "b/0.png"])
        assert self.says(ingest) == (
            "ingest: expected images to train and to test, got 2 to train, 0 to test and 0 that cannot be read; "
            "see ingest.test_fraction"
        )

    @pytest.mark.parametrize(
        ("rows", "says"),
        [
            ("0.png,anna\n9.png,ben\n", "9.png: expected an image of that path, found none"),
            ("0.png,anna\n0.png,ben\n", "0.png: expected one group, got 'anna' and 'ben'"),
            ("0.png,anna\n0.png,\n", "0.png: expected one group, got 'anna' and ''"),
        ],
    )
    def test_groups_that_do_not_fit(self, ingest, fill, rows, says):
        fill(IMAGES, FIVE)
        Path("groups.csv").write_text(f"path,group\n{rows}")
        assert self.says(ingest, "ingest.attributes=groups.csv") == f"groups.csv: {says}"

    @pytest.mark.parametrize(
        ("rows", "says"),
        [
            ("0.png,anna,0\n", "0.png: expected a cost above 0, got '0'"),
            ("0.png,anna,dear\n", "0.png: expected a cost above 0, got 'dear'"),
            ("0.png,anna,inf\n", "0.png: expected a cost above 0, got 'inf'"),
            ("0.png,anna,1\n1.png,,1\n2.png,,1\n4.png,,1\n", "3.png: expected a cost for every image, found none"),
        ],
    )
    def test_costs_that_are_none(self, ingest, fill, rows, says):
        fill(IMAGES, FIVE)
        Path("groups.csv").write_text(f"path,group,cost\n{rows}")
        assert self.says(ingest, "ingest.attributes=groups.csv") == f"groups.csv: {says}"

    def test_a_group_in_both_of_the_sources_splits(self, ingest, fill):
        fill(IMAGES, ["train/0.png", "test/0.png"])
        Path("groups.csv").write_text("path,group\ntrain/0.png,anna\ntest/0.png,anna\n")
        says = self.says(ingest, "ingest.attributes=groups.csv")
        assert says == "groups.csv: anna: expected a group in one split, got it in both"


def test_mode_and_size_are_those_of_all_images(ingest, fill, picture, caplog):
    fill(IMAGES, {f"{n}.png": picture(n, channels=1) for n in range(5)})

    def made(*sets):
        assert ingest(FOLDER, *sets).exit_code == 0
        manifest = Manifest.read(OUT / "manifest.json")
        return manifest.channels, manifest.size

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
