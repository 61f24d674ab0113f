"""What every source shares: bad images and their limit, a full disk, keys, and files that come whole or not at all."""

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
from PIL import Image

from pipeline.artifacts.labels import Sources
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.errors import SourceError
from pipeline.ingest.names import key_of, keyed
from pipeline.ingest.source import Item
from pipeline.ingest.sources import SOURCES
from pipeline.shards.reader import load

FOLDER = "ingest.source=folder"
OUT = Path("data/ingest")
IMAGES = Path("data/images")
LOCK = Path("data/scratch/ingest.lock")
ROOT = Path(__file__).parents[2]


def bomb():
    file = BytesIO()
    Image.new("1", (9500, 9500)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def spoilt(fill, picture):
    """Twenty sound images and one of each kind of bad one, in two class folders."""
    fill(IMAGES, [f"{name}/{n}.png" for name in "ab" for n in range(10)])
    files = {"empty.png": b"", "text.png": b"text", "cut.png": picture(1, size=(40, 40))[:-900], "bomb.png": bomb()}
    fill(IMAGES, {f"a/{name}": data for name, data in files.items()})
    (IMAGES / "a/gone.png").symlink_to("nowhere.png")
    os.mkfifo(IMAGES / "a/pipe.png")


@pytest.mark.usefixtures("spoilt")
def test_bad_images_are_listed_and_left_out(ingest):
    assert ingest(FOLDER).exit_code == 0
    bad = {row["path"]: row["reason"] for row in Manifest.read(OUT / "manifest.json").bad}
    assert list(bad) == sorted(bad)
    assert bad.pop("a/cut.png").startswith("the image is truncated or spoilt: image file is truncated")
    kinds = "JPEG, PNG, WEBP, BMP, GIF, TIFF, PPM, JPEG2000"
    assert bad == {
        "a/empty.png": "the file has zero bytes",
        "a/text.png": f"the file is no image of a kind that is read ({kinds})",
        "a/bomb.png": "the image has more than 89478485 pixels: a decompression bomb?",
        "a/gone.png": "the file cannot be read: No such file or directory",
        "a/pipe.png": "it is neither a file nor a folder",
    }
    assert len(Index.read(OUT / "index.parquet").key) == len(Sources.read(OUT / "sources.csv").path) == 20
    assert len((OUT / "answers.csv").read_text().splitlines()) == 21


@pytest.mark.usefixtures("spoilt")
def test_one_more_than_max_bad_stops_it(ingest):
    result = ingest(FOLDER, "ingest.max_bad=3")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "Error: a/empty.png: expected an image, but the file has zero bytes; "
        "4 such images so far, and ingest.max_bad allows 3"
    )
    assert not OUT.exists()
    assert [path for path in Path("data").rglob("*") if path.is_file() and IMAGES not in path.parents] == [LOCK]


def test_a_set_of_bad_images_is_refused(ingest, fill):
    fill(IMAGES, {f"{n}.png": b"" for n in range(4)})
    result = ingest(FOLDER)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "Error: ingest: expected images to train and to test, got 0 to train, 0 to test and 4 that cannot be read; "
        "see ingest.test_fraction"
    )


def test_a_class_of_bad_images_is_said_to_be_lost(ingest, fill, caplog):
    caplog.set_level("INFO")
    fill(IMAGES, [f"{name}/{n}.png" for name in "ab" for n in range(5)])
    fill(IMAGES, {"c/0.png": b"", "c/1.png": b""})
    assert ingest(FOLDER).exit_code == 0
    assert "ingest: class c has lost all its images, as none of them can be read" in caplog.messages
    assert (OUT / "classes.json").read_text() == '{\n "label": [\n  "a",\n  "b"\n ]\n}\n'


def test_images_of_all_modes_come_in_one(ingest, fill, picture):
    rgb = Image.open(BytesIO(picture(0)))
    grey = rgb.convert("L")
    raw = {}
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"):
        file = BytesIO()
        image = Image.fromarray(np.asarray(grey, np.uint16) * 257) if mode == "I;16" else rgb.convert(mode)
        image.save(file, "TIFF" if mode == "CMYK" else "PNG")
        raw[mode.replace(";", "") + ".png"] = file.getvalue()
    fill(IMAGES, raw)
    for sets, channels in (((), 3), (("ingest.mode=grey",), 1)):
        assert ingest(FOLDER, *sets).exit_code == 0
        manifest, index = Manifest.read(OUT / "manifest.json"), Index.read(OUT / "index.parquet")
        paths = Sources.read(OUT / "sources.csv").path
        for split in manifest.splits:
            seen = load(manifest, index, split, "")
            for key, pixels in zip(seen.keys, seen.pixels.numpy(), strict=True):
                mode = paths[key].removesuffix(".png")
                if mode not in ("1", "P"):  # which lose most of the picture
                    like = rgb if mode in ("RGB", "RGBA", "CMYK") else grey
                    expected = np.asarray(like.convert({1: "L", 3: "RGB"}[channels]))
                    assert np.abs(pixels.astype(int) - np.atleast_3d(expected).transpose(2, 0, 1)).max() <= 1
        for tar in {shard.path for shards in manifest.splits.values() for shard in shards}:
            with tarfile.open(tar) as file:
                modes = {Image.open(file.extractfile(member)).mode for member in file}
            assert modes == {{1: "L", 3: "RGB"}[channels]}


def test_sound_photographs_are_kept_byte_for_byte(ingest, fill, picture):
    photos = {f"{n}.jpg": picture(n, "JPEG", size=(20, 30)) for n in range(5)}
    fill(IMAGES, {**photos, "big.jpg": picture(9, "JPEG", size=(20, 61))})
    assert ingest(FOLDER, "ingest.max_side=60").exit_code == 0
    index, paths = Index.read(OUT / "index.parquet"), Sources.read(OUT / "sources.csv").path
    for key, shard, offset, size in zip(index.key, index.shard, index.offset, index.size, strict=True):
        data = Path(shard).read_bytes()[offset : offset + size]
        if paths[key] == "big.jpg":
            assert Image.open(BytesIO(data)).size == (60, 20)
        else:
            assert data == photos[paths[key]]


def test_the_same_folder_gives_the_same_bytes_however_it_was_filled(ingest, fill, picture):
    names = [f"{name}/{n}.png" for name in "ab" for n in range(20)]
    files = {name: picture(number) for number, name in enumerate(names)}

    def made(order):
        for path in sorted(Path("data").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        fill(IMAGES, {name: files[name] for name in order})
        assert ingest(FOLDER, "ingest.shard_images=7").exit_code == 0
        made = [path for top in ("shards", "ingest") for path in Path("data", top).rglob("*") if path.is_file()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in made}

    first = made(names)
    assert len(first) == 6 + 5 + 2
    assert made(names[::-1]) == first


def test_manifest_and_index_agree_with_the_shards(ingest, fill):
    fill(IMAGES, [f"{name}/{n}.png" for name in "ab" for n in range(20)])
    assert ingest(FOLDER, "ingest.shard_images=7").exit_code == 0
    manifest, index = Manifest.read(OUT / "manifest.json"), Index.read(OUT / "index.parquet")
    assert [shard.count for shard in manifest.splits["train"]] == [7, 7, 7, 7, 4]
    places = {}
    for shards in manifest.splits.values():
        for shard in shards:
            shard.check(digest=True)
            with tarfile.open(shard.path) as file:
                members = file.getmembers()
            assert [member.name for member in members] == sorted(member.name for member in members)
            places |= {member.name[:20]: (shard.path, member.offset_data, member.size) for member in members}
    rows = zip(index.shard, index.offset.tolist(), index.size.tolist(), strict=True)
    assert places == dict(zip(index.key, rows, strict=True))


def test_what_was_there_before_stays_when_it_fails(ingest, fill):
    fill(IMAGES, [f"{n}.png" for n in range(10)])
    assert ingest(FOLDER).exit_code == 0
    before = {path: path.read_bytes() for path in Path("data").rglob("*") if path.is_file()}
    fill(IMAGES, {f"{n}.jpg": b"" for n in range(11)})
    assert ingest(FOLDER).exit_code == 1
    assert {path: path.read_bytes() for path in before} == before
    assert not list(Path().rglob("*.part"))


def test_an_image_that_comes_and_goes_leaves_the_shards_of_both_states(ingest, fill):
    """DVC's run cache brings the first manifest back without running ingest: its shards must still be there."""
    fill(IMAGES, [f"{n}.png" for n in range(10)])
    assert ingest(FOLDER).exit_code == 0
    first = Manifest.read(OUT / "manifest.json")
    fill(IMAGES, ["more.png"])
    assert ingest(FOLDER).exit_code == 0
    second = Manifest.read(OUT / "manifest.json")
    for manifest in (first, second):
        for split in ("train", "test"):
            for shard in manifest.splits[split]:
                shard.check(digest=True)
    (IMAGES / "more.png").unlink()
    assert ingest(FOLDER).exit_code == 0
    assert Manifest.read(OUT / "manifest.json") == first
    assert len(list(Path("data/shards").iterdir())) == 2


def test_the_same_content_lies_in_the_same_folder_whatever_the_parameters(ingest, fill):
    fill(IMAGES, [f"{n}.png" for n in range(10)])
    for size in ("auto", "12"):
        assert ingest(FOLDER, f"ingest.size={size}").exit_code == 0
    assert len(list(Path("data/shards").iterdir())) == 1


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
        (
            "ingest.source=mnist",
            "expected one of cifar10, cifar100, digits, fashion-mnist, folder, imagenet, shards, got 'mnist'",
        ),
        ("ingest.shard_images=0", "ingest.shard_images: expected greater than or equal to 1, got 0"),
        ("ingest.test_fraction=1", "ingest.test_fraction: expected less than 1, got 1"),
        ("ingest.mode=gray", "ingest.mode: expected 'auto', 'grey' or 'rgb', got 'gray'"),
        ("ingest.size=0", "ingest.size: expected a whole number of at least 1, or auto, got 0"),
        ("ingest.size=full", "ingest.size: expected a whole number of at least 1, or auto, got 'full'"),
        ("ingest.digits.path=x", "ingest.digits: unknown ['path']"),
        ("ingest.speed=1", "ingest: unknown ['speed']"),
    ],
)
def test_params_out_of_range(refusal, item, says):
    assert says in refusal(item)


def test_keys_are_hashes_of_paths():
    assert key_of("a/1.png") == hashlib.blake2b(b"a/1.png", digest_size=10).hexdigest()


def test_two_items_of_one_path_are_refused():
    pixels = np.zeros((1, 1, 1), np.uint8)
    with pytest.raises(SourceError) as error:
        keyed([Item("x", None, None, pixels), Item("x", None, None, pixels)])
    assert str(error.value) == "x: expected a key of its own, got that of x"


def test_the_table_names_a_block_for_each_source():
    assert sorted(SOURCES) == ["cifar10", "cifar100", "digits", "fashion-mnist", "folder", "imagenet", "shards"]
