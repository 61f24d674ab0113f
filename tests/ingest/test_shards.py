import json
import os
import tarfile
from pathlib import Path

import pytest
import webdataset

from pipeline.artifacts.shards import REMOTE
from pipeline.shards.reader import load
from tests.ingest.outcome import IMAGES, OUT, answers, classes, index, manifest, paths, shards, spans, splits

SHARDS = "ingest.source=shards"


def labelled(count):
    return [part for n in range(count) for part in (f"{n:04d}.png", (f"{n:04d}.cls", str(n % 2).encode()))]


def test_tars_are_indexed_in_place(ingest, tar):
    files = [tar("a.tar", labelled(10)), tar("deep/b.tar", labelled(10))]
    before = [file.read_bytes() for file in files]
    ingest(SHARDS)
    assert [file.read_bytes() for file in files] == before
    assert list(Path().rglob("*.tar")) == files
    assert answers() == {f"{name}/{n:04d}": (str(n % 2),) for name in ("a.tar", "deep/b.tar") for n in range(10)}
    assert {shard.path for shard in shards()} == {str(file) for file in files}
    assert (manifest().count("train"), manifest().count("test")) == (13, 7)


def test_the_index_holds_images_only(ingest, tar, picture):
    file = tar("a.tar", [*labelled(6), ("0000.json", b'{"label": 1}'), ("0000.txt", b"a cat"), ("readme", b"text")])
    ingest(SHARDS)
    data = file.read_bytes()
    images = {data[offset : offset + size] for _, offset, size in spans().values()}
    assert images == {picture(number) for number in range(0, 12, 2)}
    assert sum(len(load(manifest(), index(), split, "").keys) for split in ("train", "test")) == len(index().key) == 6


@pytest.mark.parametrize(
    "names",
    [
        ("train/a.tar", "test/a.tar"),
        ("Train/a.tar", "TEST/a.tar"),
        ("train-000.tar", "test-000.tar"),
        ("Train-000.tar", "Test-000.tar"),
        ("training0.tar", "validation0.tar"),
        ("training/a.tar", "dev/a.tar"),
        ("set-train-00.tar", "set-VAL-00.tar"),
    ],
)
def test_splits_by_folder_or_name(ingest, tar, names):
    for name in names:
        tar(name, labelled(3))
    ingest(SHARDS)
    assert splits() == {f"{n}/{i:04d}": ("train", "test")[at] for at, n in enumerate(names) for i in range(3)}


@pytest.mark.parametrize("names", [("trainer.tar", "constrained.tar"), ("train-0.tar", "train-1.tar")])
def test_a_split_is_drawn_where_names_only_begin_like_one_or_all_are_of_one(ingest, tar, names):
    for name in names:
        tar(name, labelled(20))
    ingest(SHARDS)
    assert {splits()[f"{names[0]}/{n:04d}"] for n in range(20)} == {"train", "test"}


@pytest.mark.parametrize(("kind", "ending"), [("GIF", "gif"), ("JPEG2000", "jp2"), ("PPM", "ppm")])
def test_every_kind_that_is_read_has_its_endings(ingest, tar, picture, kind, ending):
    tar("a.tar", [(f"{n}.{ending}", picture(n, kind)) for n in range(5)])
    ingest(SHARDS)
    assert len(splits()) == 5


def test_json_members_are_answers(ingest, tar):
    members = ["a.png", ("a.json", b'{"label": "cat"}'), "b.png", ("b.json", b'{"cls": 7}'), "c.png", ("c.json", b"{}")]
    tar("x.tar", [*members, "d.png", ("d.cls", b" 3\n"), ("d.json", b'{"label": "other"}'), "e.jpg"])
    ingest(SHARDS)
    assert answers() == {"x.tar/a": ("cat",), "x.tar/b": ("7",), "x.tar/d": ("3",)}
    assert classes() == {"label": ["3", "7", "cat"]}


@pytest.mark.parametrize(
    ("image", "label", "data", "expected"),
    [
        ("a.v2.png", "a.v2.cls", b"3", "3"),
        ("a.png", "a.target.cls", b"cat", "cat"),
        ("a.v2.png", "a.v2.json", b'{"Class Name": "cat", "bbox": [1]}', "cat"),
        ("a.png", "a.json", b'{"category": 3.0}', "3"),
        ("a.png", "a.json", b'{"category": {"id": 3}, "target": "cat"}', "cat"),
        ("a.png", "a.cls", b"-1\n", None),
        ("a.png", "a.json", b'{"label": NaN}', None),
        ("a.png", "a.json", b'{"caption": "a cat"}', None),
    ],
)
def test_labels_beside_images_are_found_by_their_ends(ingest, tar, caplog, image, label, data, expected):
    caplog.set_level("INFO")
    tar("x.tar", [image, (label, data), ("a.txt", b"a cat"), "b.png", "c.png"])
    ingest(SHARDS)
    assert answers() == ({"x.tar/a": (expected,)} if expected else {})
    counts = "1 .json, 1 .txt" if b"caption" in data else "1 .txt"
    assert caplog.messages[0].endswith(f"in the tars, as no labels were found there: {counts}")


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_folders_in_tars(ingest, tar, form):
    long = "f" * 90 + "/" + "ü" * 120
    tar("a.tar", [f"{long}.png", ("./b.JPG", b"x"), *labelled(4)], form)
    ingest(SHARDS)
    assert f"a.tar/{long}" in paths().values()
    assert manifest().bad[0]["path"] == "a.tar/./b"


def test_tars_by_webdataset_itself(ingest, picture):
    IMAGES.mkdir(parents=True)
    with webdataset.TarWriter(str(IMAGES / "a.tar"), mtime=0) as writer:
        for n in range(5):
            writer.write({"__key__": f"{n}", "png": picture(n), "cls": n % 2})
    ingest(SHARDS)
    assert answers() == {f"a.tar/{n}": (str(n % 2),) for n in range(5)}


def test_bad_images_in_tars_are_listed_and_a_look_at_the_header_finds_no_truncation(ingest, tar, picture):
    tar("a.tar", [*labelled(5), ("x.png", picture(1, size=(40, 40))[:-900]), ("y.jpg", b"")])
    ingest(SHARDS)
    bad = {row["path"]: row["reason"] for row in manifest().bad}
    assert list(bad) == ["a.tar/x", "a.tar/y"]
    assert bad["a.tar/y"] == "the file has zero bytes"
    assert bad["a.tar/x"].startswith("the image is truncated or spoilt: image file is truncated")
    assert len(splits()) == 5
    ingest(SHARDS, "ingest.shards.look=header", "ingest.size=8")
    assert [row["path"] for row in manifest().bad] == ["a.tar/y"]
    assert len(splits()) == 6


def test_what_img2dataset_writes(ingest, tar, fill, picture):
    """Each sample a picture, its caption and a JSON without a label; tables lie beside the tars."""
    about = json.dumps({"caption": "a cat", "url": "http://x/0.jpg", "key": "0", "status": "success", "width": 8})
    for shard in range(2):
        keys = [f"{shard:05d}{n:04d}" for n in range(5)]
        sample = [(".jpg", picture(shard, "JPEG")), (".json", about.encode()), (".txt", b"a cat")]
        tar(f"{shard:05d}.tar", [(key + ending, data) for key in keys for ending, data in sample])
        fill(IMAGES, {f"{shard:05d}.parquet": b"PAR1", f"{shard:05d}_stats.json": b"{}"})
    ingest(SHARDS)
    assert answers() == {}
    assert sorted(paths().values()) == [f"{n:05d}.tar/{n:05d}{i:04d}" for n in range(2) for i in range(5)]


@pytest.mark.parametrize("large", [0, 3_000_000])
def test_the_digest_is_that_of_all_bytes_whatever_lies_between_the_images(ingest, tar, large):
    """Members that are passed over, one larger than what is read at once, and more padding than a tar needs."""
    between = [("0.mp4", bytes(large) + b"end"), ("notes", b"x" * 700), ("0.txt", b"")]
    files = [tar("a.tar", [between[0], *labelled(3), between[1]]), tar("b.tar", [*labelled(3), *between])]
    files[0].write_bytes(files[0].read_bytes() + bytes(3_000_000))
    ingest(SHARDS)
    for shard in shards():
        shard.check(digest=True)
    assert {shard.path for shard in shards()} == {str(file) for file in files}


def test_the_number_of_threads_changes_no_byte(ingest, tar, monkeypatch):
    for n in range(7):
        tar(f"{n}.tar", [*labelled(4), (f"x{n}.png", b"")])
    found = []
    for cores in ("1", "2", "5"):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", cores)
        ingest(SHARDS)
        found.append({path.name: path.read_bytes() for path in OUT.iterdir()})
    assert found[0] == found[1] == found[2]
    log = json.loads(Path("data/logs/ingest.json").read_text())
    assert (log["images"], log["bytes"]) == (35, sum(file.stat().st_size for file in IMAGES.iterdir()))


TWO = ["a.png", "b.png"]
END = "expected a member or the tar's end at byte 1024: it is truncated or spoilt"


@pytest.mark.parametrize(
    ("members", "change", "says"),
    [
        ([*labelled(3), "0001.png"], None, "0001.png: expected one member of this key and extension, got two"),
        (["x.left.png", "x.right.jpg"], None, "x: expected one image, got x.left.png and x.right.jpg"),
        (TWO, lambda data: data[:1636],
         "b.png: expected {size} bytes from byte 1536, got a tar truncated at byte 1636"),
        (TWO, lambda data: data[:1024], END),
        (TWO, lambda data: data[:1200], END),
        (TWO, lambda data: data[:1030] + bytes([data[1030] ^ 1]) + data[1031:], END),
        (["a.png"], lambda data: data * 2,
         "expected nothing after the tar's end at byte 1024, got more: joined by cat?"),
        ([], lambda _: b"", "expected a tar, got: empty file"),
        ([], lambda _: b"no tar" * 200, "expected a tar, got: invalid header"),
        (["a.png", ("a.json", b"{")], None,
         "a.json: expected a label, got: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (["a.png", ("a.json", b'{"label": [1]}')], None,
         "a.json: expected a label that is a number or a text, got [1]"),
        (["a.png", ("a.json", b'{"label": true}')], None,
         "a.json: expected a label that is a number or a text, got True"),
        (["a.png", ("a.json", b"[1]")], None, "a.json: expected a label that is a number or a text, got b'[1]'"),
        (["a.png", ("a.cls", b"\xff")], None,
         "a.cls: expected a label, got: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (["a.png", ("a.x.cls", b"1"), ("a.y.cls", b"2")], None,
         "a: expected one label, got those of a.x.cls and a.y.cls"),
        ([("0.svg", b"x"), ("0.cls", b"1")], None,
         "expected images (jpg, jpeg, jpe, jfif, png, webp, bmp, gif, tif, tiff, ppm, pgm, pbm, pnm, jp2, j2k, jpx, "
         "avif, heic, heif, hif), got only members that end in cls, svg"),
    ],
)  # fmt: skip
def test_a_tar_that_cannot_be_used(refusal, tar, picture, members, change, says):
    file = tar("a.tar", members)
    if change:
        file.write_bytes(change(file.read_bytes()))
    assert refusal(SHARDS) == f"data/images/a.tar: {says.replace('{size}', str(len(picture(1))))}"


def test_a_link_in_a_tar(refusal, tar):
    with tarfile.open(tar("a.tar", ["a.png"]), "a") as file:
        info = tarfile.TarInfo("b.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
        file.addfile(info)
    assert refusal(SHARDS) == "data/images/a.tar: b.png: expected a plain file, got a link or a sparse file"


def test_a_pipe_among_tars_is_not_waited_for(refusal, tar):
    os.mkfifo(tar("a.tar", TWO).with_name("b.tar"))
    assert refusal(SHARDS) == (
        "data/images/b.tar: expected a file, found a pipe, a device or a link that leads nowhere"
    )


@pytest.mark.parametrize("url", ["pipe:touch ran", "file:a"])
def test_another_url_or_a_command(refusal, url):
    expected = f"expected a folder of .tar files, or URLs of {', '.join(REMOTE)}"
    assert refusal(SHARDS, f"ingest.shards.path={url}") == f"{url}: {expected}, got another URL or a command"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ((), ": expected .tar files, found none"),
        (("b.tar", "c.tar.gz"),
         "/c.tar.gz: expected a .tar, whose images can be read in place, got a packed one: unpack it"),
        (("train-0.tar", "more.tar"), "/train-0.tar: expected test or val beside it, as for a split, found none; a "
                                      "class needs another name"),
        (("train/a.tar", "test/a.tar", "more.tar"), "/more.tar: expected train, test or val, as other sub-folders or "
                                                    "names say, got neither"),
    ],
)  # fmt: skip
def test_names_of_tars_that_do_not_fit(refusal, tar, fill, names, says):
    fill(IMAGES, ["a.png"])
    for name in names:
        tar(name, labelled(2))
    assert refusal(SHARDS) == f"data/images{says}"
