import io
import json
import tarfile
from pathlib import Path

import pytest
import webdataset

from pipeline.artifacts.labels import Labels, Sources
from pipeline.artifacts.shards import REMOTE, Index, Manifest
from pipeline.shards.reader import load

SHARDS = "ingest.source=shards"
OUT = Path("data/ingest")
HOME = Path("data/images")


@pytest.fixture
def tar(picture):
    """Writes a tar of (name, bytes) members; a name alone gets a picture."""

    def write(name, members, form=tarfile.PAX_FORMAT):
        file = HOME / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(file, "w", format=form) as out:
            for number, member in enumerate(members):
                path, data = (member, picture(number)) if isinstance(member, str) else member
                info = tarfile.TarInfo(path)
                info.size = len(data)
                out.addfile(info, io.BytesIO(data))
        return file

    return write


def paths():
    return Sources.read(OUT / "sources.csv").path


def answers():
    return {paths()[key]: names[0] for key, names in Labels.read(OUT / "answers.csv").rows.items()}


def splits():
    index = Index.read(OUT / "index.parquet")
    return {paths()[key]: split for key, split in zip(index.key, index.split, strict=True)}


def labelled(count):
    return [part for n in range(count) for part in (f"{n:04d}.png", (f"{n:04d}.cls", str(n % 2).encode()))]


def test_tars_are_indexed_in_place(ingest, tar):
    files = [tar("a.tar", labelled(10)), tar("deep/b.tar", labelled(10))]
    before = [file.read_bytes() for file in files]
    assert ingest(SHARDS).exit_code == 0
    assert [file.read_bytes() for file in files] == before
    assert list(Path().rglob("*.tar")) == files
    assert answers() == {f"{name}/{n:04d}": str(n % 2) for name in ("a.tar", "deep/b.tar") for n in range(10)}
    manifest = Manifest.read(OUT / "manifest.json")
    assert {shard.path for shards in manifest.splits.values() for shard in shards} == {str(file) for file in files}
    assert (manifest.count("train"), manifest.count("test")) == (16, 4)


def test_the_index_holds_images_only(ingest, tar, picture):
    file = tar("a.tar", [*labelled(6), ("0000.json", b'{"label": 1}'), ("0000.txt", b"a cat"), ("readme", b"text")])
    assert ingest(SHARDS).exit_code == 0
    index = Index.read(OUT / "index.parquet")
    assert len(index.key) == 6
    data = file.read_bytes()
    spans = {data[offset : offset + size] for offset, size in zip(index.offset, index.size, strict=True)}
    assert spans == {picture(number) for number in range(0, 12, 2)}
    manifest = Manifest.read(OUT / "manifest.json")
    assert sum(len(load(manifest, index, split, "").keys) for split in manifest.splits) == 6


@pytest.mark.parametrize(
    "names",
    [
        ("train/a.tar", "test/a.tar"),
        ("Train/a.tar", "TEST/a.tar"),
        ("train-000.tar", "test-000.tar"),
        ("Train-000.tar", "Test-000.tar"),
        ("training0.tar", "validation0.tar"),
    ],
)
def test_splits_by_folder_or_name(ingest, tar, names):
    for name in names:
        tar(name, labelled(3))
    assert ingest(SHARDS).exit_code == 0
    assert splits() == {f"{n}/{i:04d}": ("train", "test")[at] for at, n in enumerate(names) for i in range(3)}


def test_a_tar_that_only_begins_like_a_split_has_none(ingest, tar):
    tar("trainer.tar", labelled(5))
    tar("tested.tar", labelled(5))
    assert ingest(SHARDS).exit_code == 0
    assert sorted(splits().values()) == ["test"] * 2 + ["train"] * 8


def test_tars_of_one_split_are_drawn_from(ingest, tar):
    tar("train-0.tar", labelled(5))
    tar("train-1.tar", labelled(5))
    assert ingest(SHARDS).exit_code == 0
    assert sorted(splits().values()) == ["test"] * 2 + ["train"] * 8


@pytest.mark.parametrize(("kind", "ending"), [("GIF", "gif"), ("JPEG2000", "jp2"), ("PPM", "ppm")])
def test_every_kind_that_is_read_has_its_endings(ingest, tar, picture, kind, ending):
    tar("a.tar", [(f"{n}.{ending}", picture(n, kind)) for n in range(5)])
    assert ingest(SHARDS).exit_code == 0
    assert len(splits()) == 5


def test_json_members_are_answers(ingest, tar):
    members = ["a.png", ("a.json", b'{"label": "cat"}'), "b.png", ("b.json", b'{"cls": 7}'), "c.png", ("c.json", b"{}")]
    tar("x.tar", [*members, "d.png", ("d.cls", b" 3\n"), ("d.json", b'{"label": "other"}'), "e.jpg"])
    assert ingest(SHARDS).exit_code == 0
    assert answers() == {"x.tar/a": "cat", "x.tar/b": "7", "x.tar/d": "3"}
    assert json.loads((OUT / "classes.json").read_text()) == {"label": ["3", "7", "cat"]}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_folders_in_tars(ingest, tar, form):
    long = "f" * 90 + "/" + "ü" * 120
    tar("a.tar", [f"{long}.png", ("./b.JPG", b"x"), *labelled(4)], form)
    assert ingest(SHARDS).exit_code == 0
    assert f"a.tar/{long}" in paths().values()
    assert json.loads((OUT / "manifest.json").read_text())["bad"][0]["path"] == "a.tar/./b"


def test_tars_by_webdataset_itself(ingest, picture):
    HOME.mkdir(parents=True)
    with webdataset.TarWriter(str(HOME / "a.tar"), mtime=0) as writer:
        for n in range(5):
            writer.write({"__key__": f"{n}", "png": picture(n), "cls": n % 2})
    assert ingest(SHARDS).exit_code == 0
    assert answers() == {f"a.tar/{n}": str(n % 2) for n in range(5)}


def test_bad_images_in_tars_are_listed(ingest, tar, picture):
    tar("a.tar", [*labelled(5), ("x.png", picture(1, size=(40, 40))[:-900]), ("y.jpg", b"")])
    assert ingest(SHARDS).exit_code == 0
    bad = {row["path"]: row["reason"] for row in Manifest.read(OUT / "manifest.json").bad}
    assert list(bad) == ["a.tar/x", "a.tar/y"]
    assert bad["a.tar/y"] == "the file has zero bytes"
    assert bad["a.tar/x"].startswith("the image is truncated or spoilt: image file is truncated")
    assert len(splits()) == 5


def test_what_img2dataset_writes(ingest, tar, fill, picture):
    """Each sample a picture, its caption and a JSON without a label; tables lie beside the tars."""
    about = json.dumps({"caption": "a cat", "url": "http://x/0.jpg", "key": "0", "status": "success", "width": 8})
    for shard in range(2):
        keys = [f"{shard:05d}{n:04d}" for n in range(5)]
        files = [((f"{key}.jpg", picture(n, "JPEG")), (f"{key}.json", about.encode())) for n, key in enumerate(keys)]
        tar(f"{shard:05d}.tar", [part for pair in files for part in (*pair, (f"{pair[0][0][:-4]}.txt", b"a cat"))])
        fill(HOME, {f"{shard:05d}.parquet": b"PAR1", f"{shard:05d}_stats.json": b"{}"})
    assert ingest(SHARDS).exit_code == 0
    assert answers() == {}
    assert sorted(paths().values()) == [f"{n:05d}.tar/{n:05d}{i:04d}" for n in range(2) for i in range(5)]


def test_a_look_at_the_header_finds_what_is_no_image_but_not_one_cut_short(ingest, tar, picture):
    tar("a.tar", [*labelled(5), ("x.png", picture(1, size=(40, 40))[:-900]), ("y.jpg", b"text")])
    assert ingest(SHARDS, "ingest.shards.look=header", "ingest.size=8").exit_code == 0
    assert [row["path"] for row in Manifest.read(OUT / "manifest.json").bad] == ["a.tar/y"]
    assert len(splits()) == 6


@pytest.mark.parametrize("large", [0, 3_000_000])
def test_the_digest_is_that_of_all_bytes_whatever_lies_between_the_images(ingest, tar, large):
    """Members that are passed over, one larger than what is read at once, and more padding than a tar needs."""
    between = [("0.mp4", bytes(large) + b"end"), ("notes", b"x" * 700), ("0.txt", b"")]
    files = [tar("a.tar", [between[0], *labelled(3), between[1]]), tar("b.tar", [*labelled(3), *between])]
    files[0].write_bytes(files[0].read_bytes() + bytes(3_000_000))
    assert ingest(SHARDS).exit_code == 0
    manifest = Manifest.read(OUT / "manifest.json")
    for shards in manifest.splits.values():
        for shard in shards:
            shard.check(digest=True)
    assert {shard.path for shards in manifest.splits.values() for shard in shards} == {str(file) for file in files}


def test_the_number_of_workers_changes_no_byte(ingest, tar, monkeypatch):
    for n in range(7):
        tar(f"{n}.tar", [*labelled(4), (f"x{n}.png", b"")])
    found = []
    for cores in ("1", "2", "5"):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", cores)
        assert ingest(SHARDS).exit_code == 0
        found.append({path.name: path.read_bytes() for path in OUT.iterdir()})
    assert found[0] == found[1] == found[2]
    log = json.loads(Path("data/logs/ingest.json").read_text())
    assert (log["images"], log["bytes"]) == (35, sum(file.stat().st_size for file in HOME.iterdir()))


class TestRefusals:
    """Each stops the command in one line, makes nothing and leaves the tars alone."""

    def says(self, ingest, *sets):
        before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
        before[Path("data/scratch/ingest.lock")] = b""
        result = ingest(SHARDS, *sets)
        assert result.exit_code == 1
        assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
        assert not list(Path().rglob("*.part"))
        return result.stderr.splitlines()[-1].removeprefix("Error: ")

    def test_two_members_of_one_name(self, ingest, tar):
        tar("a.tar", [*labelled(3), "0001.png"])
        says = self.says(ingest)
        assert says == "data/images/a.tar: 0001.png: expected one member of this key and extension, got two"

    def test_two_images_of_one_key(self, ingest, tar):
        tar("a.tar", ["x.left.png", "x.right.jpg"])
        assert self.says(ingest) == "data/images/a.tar: x: expected one image, got x.left.png and x.right.jpg"

    def test_a_tar_cut_within_a_member(self, ingest, tar, picture):
        file = tar("a.tar", ["a.png", "b.png"])
        file.write_bytes(file.read_bytes()[: 512 * 3 + 100])
        length = len(picture(1))
        says = f"data/images/a.tar: b.png: expected {length} bytes from byte 1536, got a tar truncated at byte 1636"
        assert self.says(ingest) == says

    @pytest.mark.parametrize("cut", [1024, 1200])
    def test_a_tar_cut_elsewhere(self, ingest, tar, cut):
        file = tar("a.tar", ["a.png", "b.png"])
        file.write_bytes(file.read_bytes()[:cut])
        says = "data/images/a.tar: expected a member or the tar's end at byte 1024: it is truncated or spoilt"
        assert self.says(ingest) == says

    def test_a_spoilt_header(self, ingest, tar):
        file = tar("a.tar", ["a.png", "b.png"])
        data = bytearray(file.read_bytes())
        data[1030] ^= 1
        file.write_bytes(data)
        says = "data/images/a.tar: expected a member or the tar's end at byte 1024: it is truncated or spoilt"
        assert self.says(ingest) == says

    def test_tars_joined_by_cat(self, ingest, tar):
        file = tar("a.tar", ["a.png"])
        file.write_bytes(file.read_bytes() * 2)
        says = "data/images/a.tar: expected nothing after the tar's end at byte 1024, got more: joined by cat?"
        assert self.says(ingest) == says

    @pytest.mark.parametrize(("data", "why"), [(b"", "empty file"), (b"no tar" * 200, "invalid header")])
    def test_a_file_that_is_no_tar(self, ingest, fill, data, why):
        fill(HOME, {"a.tar": data})
        assert self.says(ingest).startswith(f"data/images/a.tar: expected a tar, got: {why}")

    def test_a_link_in_a_tar(self, ingest, tar):
        with tarfile.open(tar("a.tar", ["a.png"]), "a") as file:
            info = tarfile.TarInfo("b.png")
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
            file.addfile(info)
        assert self.says(ingest) == "data/images/a.tar: b.png: expected a plain file, got a link or a sparse file"

    @pytest.mark.parametrize(
        ("member", "why"),
        [
            (("a.json", b"{"), "expected a label, got: Expecting property name enclosed in double quotes"),
            (("a.json", b'{"label": [1]}'), "expected a label that is a number or a text, got [1]"),
            (("a.json", b'{"label": true}'), "expected a label that is a number or a text, got True"),
            (("a.json", b"[1]"), "expected a label that is a number or a text, got b'[1]'"),
            (("a.cls", b"\xff"), "expected a label, got: 'utf-8' codec can't decode byte 0xff"),
        ],
    )
    def test_a_label_that_is_none(self, ingest, tar, member, why):
        tar("a.tar", ["a.png", member])
        assert self.says(ingest).startswith(f"data/images/a.tar: {member[0]}: {why}")

    @pytest.mark.parametrize("url", ["pipe:touch ran", "file:a"])
    def test_a_url_or_command(self, ingest, url):
        says = self.says(ingest, f"ingest.shards.path={url}")
        assert (
            says
            == f"{url}: expected a folder of .tar files, or URLs of {', '.join(REMOTE)}, got another URL or a command"
        )

    def test_no_tars(self, ingest, fill):
        fill(HOME, ["a.png"])
        assert self.says(ingest) == "data/images: expected .tar files, found none"

    def test_a_tar_without_an_image_of_a_kind_that_is_read(self, ingest, tar):
        tar("a.tar", labelled(5))
        tar("b.tar", [("0.heic", b"x"), ("0.cls", b"1")])
        kinds = "jpg, jpeg, jpe, jfif, png, webp, bmp, gif, tif, tiff, ppm, pgm, pbm, pnm, jp2, j2k, jpx"
        says = self.says(ingest)
        assert says == f"data/images/b.tar: expected images ({kinds}), got only members that end in cls, heic"

    def test_a_split_without_its_partner(self, ingest, tar):
        tar("train-0.tar", labelled(2))
        tar("more.tar", labelled(2))
        assert self.says(ingest) == (
            "data/images/train-0.tar: expected test or val beside it, as for a split, found none; "
            "a class needs another name"
        )

    def test_a_tar_of_no_split(self, ingest, tar):
        for name in ("train/a.tar", "test/a.tar", "more.tar"):
            tar(name, labelled(2))
        says = self.says(ingest)
        assert (
            says == "data/images/more.tar: expected train, test or val, as other sub-folders or names say, got neither"
        )
