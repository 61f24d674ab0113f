"""Folders that sort photographs by dates or by cameras, and names like theirs that are classes."""

import pytest

from tests.ingest.outcome import FOLDER, IMAGES, answers

BEGINS = "ingest: no classes are made of folders that are named by dates or by a camera ("


@pytest.mark.parametrize(
    ("folders", "labels"),
    [
        ("2019 2020 2021", None),
        ("2019", None),
        ("2024-05-01 2024_06_30 20240701 31.12.2024", None),
        ("2019/05 2019/06 2020/12", None),
        ("2019/05/01 2019/June/03 2020/2020-12", None),
        ("IMG_2023 IMG_2024", None),
        ("Photos-from-2019 May-2020", None),
        ("DCIM/100CANON DCIM/101MSDCF DCIM/Camera", None),
        ("DCIM/100D7000 DCIM/202405__", None),
        ("100CANON 101_PANA 102_0501", None),
        ("photos/2019 photos/2020", None),
        ("2019/05/1 2019/05/31", None),
        ("2019-05/31 2019-06/1", None),
        ("2019 2020 unlabeled", None),
        ("2019/cats 2019/dogs 2020/cats", ["cats", "dogs", "cats"]),
        ("cats/2019 dogs/2019 dogs/2020/05", ["cats", "dogs", "dogs"]),
        ("2 3 4 9", ["2", "3", "4", "9"]),
        ("01 02 31", ["01", "02", "31"]),
        ("1990s 2000s", ["1990s", "2000s"]),
        ("2019 2020 cats", ["2019", "2020", "cats"]),
        ("cars-2019 cars-2020", ["cars-2019", "cars-2020"]),
        ("2019/0 2019/1", ["0", "1"]),
        ("grades/2019/1 grades/2019/2 grades/2020/3", ["1", "2", "3"]),
        ("2019-05-01/1 20190502/2", ["1", "2"]),
        ("DCIM/1 DCIM/2", ["1", "2"]),
        ("101aaaaa 102bbbbb", ["101aaaaa", "102bbbbb"]),
        ("450B1234 451C1234", ["450B1234", "451C1234"]),
        ("100CANON 450B1234", ["100CANON", "450B1234"]),
        ("1234 2019", ["1234", "2019"]),
        ("n02012849 n02006656", ["n02012849", "n02006656"]),
        ("10012345 10112345", ["10012345", "10112345"]),
        ("001.Albatross 100.Brown_Pelican", ["001.Albatross", "100.Brown_Pelican"]),
        ("March May", ["March", "May"]),
    ],
)
def test_folders_named_by_dates_or_cameras_are_no_classes(ingest, fill, caplog, folders, labels):
    caplog.set_level("WARNING")
    fill(IMAGES, [f"{folder}/{n}.png" for folder in folders.split() for n in range(2)])
    ingest(FOLDER, "ingest.test_fraction=0")
    expected = dict(zip(folders.split(), labels, strict=True)) if labels else {}
    assert {path.rpartition("/")[0]: answer[0] for path, answer in answers().items()} == expected
    said = [line for line in caplog.messages if line.startswith(BEGINS)]
    assert len(said) == (set(labels or []) != {part for folder in folders.split() for part in folder.split("/")})


def test_a_table_says_more_than_the_names_of_folders(ingest, fill, caplog):
    caplog.set_level("INFO")
    fill(IMAGES, [f"{year}/{n}.png" for year in (2019, 2020) for n in range(2)])
    (IMAGES / "answers.csv").write_text("path,label\n2019/0.png,2019\n2020/0.png,2020\n")
    ingest(FOLDER, "ingest.test_fraction=0")
    assert answers() == {"2019/0.png": ("2019",), "2020/0.png": ("2020",)}
    assert not [line for line in caplog.messages if line.startswith(BEGINS)]
