"""What every source shares: bad images and their limit, a full disk, keys, and files that come whole or not at all."""

import gc
import hashlib
import os
import resource
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from pipeline.artifacts.labels import Sources
from pipeline.base.errors import SourceError
from pipeline.ingest.source import Item, key_of, keyed
from pipeline.ingest.sources import SOURCES
from pipeline.shards.kinds import FORMATS
from tests.imports import ROOT
from tests.ingest.outcome import FIVE, FOLDER, IMAGES, OUT, answers, classes, index, manifest, paths, shards, spans
from tests.refusals import refusal_of

TEN = [f"{n}.png" for n in range(10)]


def bomb():
    file = BytesIO()
    Image.new("1", (9500, 9500)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def spoilt(fill, picture):
    """Twenty sound images and one of each kind of bad one, in two class folders."""
    fill(IMAGES, [f"{name}/{file}" for name in "ab" for file in TEN])
    files = {"empty.png": b"", "text.png": b"text", "cut.png": picture(1, size=(40, 40))[:-900], "bomb.png": bomb()}
    fill(IMAGES, {f"a/{name}": data for name, data in files.items()})
    (IMAGES / "a/gone.png").symlink_to("nowhere.png")
    os.mkfifo(IMAGES / "a/pipe.png")


@pytest.mark.usefixtures("spoilt")
def test_bad_images_are_listed_and_left_out(ingest):
    ingest(FOLDER)
    bad = {row["path"]: row["reason"] for row in manifest().bad}
    assert list(bad) == sorted(bad)
    assert bad.pop("a/cut.png").startswith("the image is truncated or spoilt: image file is truncated")
    assert bad == {
        "a/empty.png": "the file has zero bytes",
        "a/text.png": f"the file is no image of a kind that is read ({', '.join(FORMATS)})",
        "a/bomb.png": "the image has more than 89478485 pixels: a decompression bomb?",
        "a/gone.png": "it is a link to nowhere.png, which is not there",
        "a/pipe.png": "it is neither a file nor a folder",
    }
    assert len(index().key) == len(paths()) == len(answers()) == 20


def test_one_more_than_max_bad_stops_it_and_what_was_there_before_stays(ingest, refusal, fill):
    fill(IMAGES, TEN)
    fill(IMAGES, {f"{n}.jpg": b"" for n in range(3)})
    ingest(FOLDER, "ingest.max_bad=3")
    fill(IMAGES, {"3.jpg": b""})
    says = refusal(FOLDER, "ingest.max_bad=3")
    path, _, end = says.partition(": ")
    assert path.endswith(".jpg")
    expected = "expected an image, but the file has zero bytes; 4 such images so far, and ingest.max_bad allows 3"
    assert end == expected
    assert not list(Path().rglob("*.part"))


def test_a_set_of_bad_images_is_refused(refusal, fill):
    fill(IMAGES, dict.fromkeys(FIVE, b""))
    assert refusal(FOLDER) == (
        "ingest: expected images to train, got 0 to test and 5 that cannot be read; see ingest.test_fraction"
    )


def test_a_class_of_bad_images_is_said_to_be_lost(ingest, fill, caplog):
    caplog.set_level("INFO")
    fill(IMAGES, [f"{name}/{file}" for name in "ab" for file in FIVE])
    fill(IMAGES, {"c/0.png": b"", "c/1.png": b""})
    ingest(FOLDER)
    assert "ingest: class c has lost all its images, as none of them can be read" in caplog.messages
    assert classes() == {"label": ["a", "b"]}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves tars to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_manifest_and_index_agree_with_the_shards_which_webdataset_reads(ingest, fill, picture):
    fill(IMAGES, [f"{n:02d}.png" for n in range(40)])
    (IMAGES / "answers.csv").write_text("path,label\n00.png,cat\n")
    ingest(FOLDER, "ingest.shard_images=7")
    made, rows, places = manifest(), index(), {}
    assert [shard.count for shard in made.splits["train"]] == [7, 7, 7, 7, 5]
    for shard in shards():
        shard.check(digest=True)
        with tarfile.open(shard.path) as file:
            members = file.getmembers()
        assert [member.name for member in members] == sorted(member.name for member in members)
        places |= {member.name[:20]: (shard.path, member.offset_data, member.size) for member in members}
    assert places == spans()
    for split, own in made.splits.items():
        assert own
        tars = [shard.path for shard in own]
        samples = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).decode("rgb8"))
        assert [sample["__key__"] for sample in samples] == rows.keys_of(rows.rows(split))
        for sample in samples:
            number = int(paths()[sample["__key__"]].removesuffix(".png"))
            assert np.array_equal(sample["png"], np.asarray(Image.open(BytesIO(picture(number)))))
    gc.collect()


def test_the_digest_of_each_picture_is_that_of_the_file_in_a_folder_and_in_a_tar(ingest, fill, tar, picture):
    """Whatever the shards hold: these pictures become grey and smaller."""
    fill(IMAGES, TEN)
    tar("../tars/x.tar", TEN)
    expected = [hashlib.blake2b(picture(n), digest_size=10).hexdigest() for n in range(10)]
    for source in (FOLDER, "ingest.source=shards"):
        ingest(source, "ingest.shards.path=data/tars", "ingest.mode=grey", "ingest.max_side=4", "ingest.size=4")
        found = Sources.read(OUT / "sources.csv")
        assert [digest for _, digest in sorted((found.path[key], found.picture[key]) for key in found.path)] == expected


def test_an_image_that_comes_and_goes_leaves_the_shards_of_both_states(ingest, fill):
    """DVC's run cache brings the first manifest back without running ingest: its shards must still be there."""
    fill(IMAGES, TEN)
    ingest(FOLDER)
    first, old = manifest(), shards()
    ingest(FOLDER, "ingest.size=12")
    assert len(list(Path("data/shards").iterdir())) == 1  # the same content lies in the same folder
    fill(IMAGES, ["more.png"])
    ingest(FOLDER)
    for shard in (*old, *shards()):
        shard.check(digest=True)
    (IMAGES / "more.png").unlink()
    ingest(FOLDER)
    assert manifest() == first
    assert len(list(Path("data/shards").iterdir())) == 2


def test_copies_are_named_where_they_spoil_a_figure_or_a_label(ingest, fill, picture, caplog):
    fill(IMAGES, [f"{split}/{name}/{n}{split}.png" for split in ("train", "test") for name in "ab" for n in range(2)])
    copies = ("train/a/x.png", "test/a/x.png", "train/b/y.png", "train/a/y.png", "train/a/z.png", "train/a/zz.png")
    fill(IMAGES, {name: picture(100 + at // 2) for at, name in enumerate(copies)})
    ingest(FOLDER)
    assert [message for message in caplog.messages if "same content" in message] == [
        "ingest: 1 images to test have the same content as images to train: test/a/x.png",
        "ingest: 1 images are there with the same content and different classes: train/a/y.png, train/b/y.png",
    ]


@pytest.mark.parametrize(("limit", "shard_images"), [(300_000, 10_000), (45_000, 20)], ids=["shards", "index"])
def test_a_full_disk_leaves_nothing(tmp_path, limit, shard_images):
    """A limit on the size of files takes the same way as a full disk: in a tar, or in a table after all the tars."""

    def restrict():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    sets = ("--set", f"ingest.shards_dir={tmp_path}/shards", "--set", f"ingest.shard_images={shard_images}")
    command = [sys.executable, "-B", "-m", "stages.ingest", "--out", str(tmp_path / "out"), *sets]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=restrict)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"Error: {tmp_path}/out: expected to write it and its shards, got: File too large; nothing is left of them"
    )
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["ingest.lock"]


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ("ingest.source=mnist", f"expected one of {', '.join(sorted(SOURCES))}, got 'mnist'"),
        ("ingest.shard_images=0", "ingest.shard_images: expected greater than or equal to 1, got 0"),
        ("ingest.test_fraction=1", "ingest.test_fraction: expected less than 1, got 1"),
        ("ingest.mode=gray", "ingest.mode: expected 'auto', 'grey' or 'rgb', got 'gray'"),
        ("ingest.size=0", "ingest.size: expected a whole number of at least 1, or auto, got 0"),
        ("ingest.size=5000000", "ingest.size: expected at most "),
        ("ingest.size=full", "ingest.size: expected a whole number of at least 1, or auto, got 'full'"),
        ("ingest.digits.path=x", "ingest.digits: unknown ['path']"),
        ("ingest.speed=1", "ingest: unknown ['speed']"),
    ],
)
def test_params_out_of_range(refusal, item, says):
    assert says in refusal(item)


def test_keys_are_hashes_of_paths_and_no_two_items_have_one():
    assert key_of("a/1.png") == hashlib.blake2b(b"a/1.png", digest_size=10).hexdigest()
    pixels = np.zeros((1, 1, 1), np.uint8)
    says = refusal_of(keyed, [Item("x", None, None, pixels), Item("x", None, None, pixels)], kind=SourceError)
    assert says == "x: expected a key of its own, got that of x"
