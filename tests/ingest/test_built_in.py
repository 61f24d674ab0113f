"""Digits, Fashion-MNIST and CIFAR: what arrives, and what happens where their files are missing or others."""

import gzip
import pickle
import struct
import tarfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pipeline.artifacts.labels import Labels
from pipeline.base.errors import SourceError
from pipeline.base.torchvision_import import torchvision
from pipeline.ingest.source import key_of
from pipeline.ingest.sources.cifar import COARSE
from pipeline.ingest.sources.fashion_mnist import read_idx
from pipeline.shards.reader import load
from tests.ingest.outcome import OUT, answers, bytes_below, classes, index, manifest, paths
from tests.refusals import refusal_of

REAL = Path("/usr/share/datasets/fashion-mnist")
FASHION = "ingest.source=fashion-mnist"


def test_digits_arrive_whole(ingest):
    ingest("ingest.shard_images=500")
    images, digits = load_digits(return_X_y=True)
    made, rows = manifest(), {key_of(f"{row:04d}"): row for row in range(1797)}
    assert (made.source, made.channels, made.size, made.bad) == ("digits", 1, (8, 8), [])
    assert [shard.count for shard in made.splits["train"]] == [500, 500, 411]
    assert paths() == {key: f"{row:04d}" for key, row in rows.items()}
    assert answers() == {f"{row:04d}": (str(d), ("even", "odd")[d % 2]) for row, d in enumerate(digits)}
    for split, count in (("train", 1411), ("test", 386)):
        seen = load(made, index(), split, "")
        own = [rows[key] for key in seen.keys]
        assert len(own) == count
        assert np.array_equal(seen.pixels.numpy().reshape(-1, 64), np.rint(images[own] * 255 / 16))
    assert classes() == {"label": [*"0123456789"], "coarse": ["even", "odd"]}
    names = "answers.csv attributes.parquet classes.json index.parquet manifest.json sources.csv"
    assert sorted(path.name for path in OUT.iterdir()) == names.split()


def test_shards_and_index_say_nothing_of_the_class(ingest):
    ingest()
    rows, labels = index(), Labels.read(OUT / "answers.csv").rows
    digit = [int(labels[key][0]) for key in rows.key]
    assert abs(np.corrcoef(digit[:-1], digit[1:])[0, 1]) < 0.1  # rows sorted by class would give almost 1
    assert abs(np.corrcoef(rows.size, np.arange(len(digit)))[0, 1]) < 0.1
    for tar in Path("data/shards").rglob("*.tar"):
        with tarfile.open(tar) as file:
            members = file.getmembers()
        assert {(member.name[20:], len(member.name)) for member in members} == {(".png", 24)}
        assert {(member.mtime, member.uid, member.uname) for member in members} == {(0, 0, "")}


def test_the_same_input_gives_the_same_bytes_and_another_seed_another_split(ingest):
    ingest()
    first = bytes_below("data/shards", OUT)
    ingest()
    assert bytes_below("data/shards", OUT) == first
    ingest("seed=1")
    assert len(list(Path("data/shards").iterdir())) == 2
    changed = {name for name, data in bytes_below(OUT).items() if data != first[name]}
    assert changed == {f"{OUT}/index.parquet", f"{OUT}/manifest.json"}


def idx(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


@pytest.fixture
def fashion(tmp_path):
    """Fashion-MNIST's four files, of 30 and 20 images."""
    pixels = np.random.default_rng(0).integers(0, 256, (50, 28, 28), dtype=np.uint8)
    labels = np.arange(50, dtype=np.uint8) % 10
    for prefix, own in (("train", slice(30)), ("t10k", slice(30, 50))):
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(idx(pixels[own]))
        (tmp_path / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(idx(labels[own]))
    return tmp_path


def test_fashion_mnist_arrives_whole(ingest, fashion):
    ingest(FASHION, f"ingest.fashion-mnist.root={fashion}")
    made = manifest()
    assert (made.channels, made.size, made.count("train"), made.count("test")) == (1, (28, 28), 30, 20)
    assert answers()["train/00009"] == answers()["test/00009"] == ("Ankle boot", "footwear")
    assert answers()["train/00010"] == ("T-shirt/top", "tops")
    assert classes()["label"][:3] == ["T-shirt/top", "Trouser", "Pullover"]
    assert classes()["coarse"] == ["tops", "trousers", "dresses", "footwear", "bags"]


def test_other_idx_bytes_are_refused(refusal, fashion):
    file = fashion / "t10k-labels-idx1-ubyte.gz"
    file.write_bytes(idx(np.zeros(19, np.uint8)))
    says = refusal(FASHION, f"ingest.fashion-mnist.root={fashion}")
    assert says == f"{fashion}: expected a label 0 to 9 for each of the 20 test images"
    file.write_bytes(idx(np.zeros((20, 1), np.uint8)))
    says = f"{file}: expected idx bytes with 1 axes, got 32 bytes that are not"
    assert refusal_of(read_idx, file, 1, kind=SourceError) == says
    file.write_bytes(file.read_bytes()[:-9])
    says = f"{file}: expected a gzipped idx file, got: Compressed file ended before"
    assert refusal_of(read_idx, file, 1, kind=SourceError).startswith(says)


@pytest.mark.skipif(not REAL.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_real_files_are_what_they_should_be():
    labels = read_idx(REAL / "t10k-labels-idx1-ubyte.gz", 1)
    assert read_idx(REAL / "t10k-images-idx3-ubyte.gz", 3).shape == (10000, 28, 28)
    assert Counter(labels.tolist()) == dict.fromkeys(range(10), 1000)
    assert labels[:5].tolist() == [9, 2, 1, 1, 6]


@pytest.mark.parametrize(
    ("source", "name", "folder"),
    [
        ("cifar10", "CIFAR10", "data/raw"),
        ("cifar100", "CIFAR100", "data/raw"),
        ("fashion-mnist", "Fashion-MNIST", "raw"),
    ],
)
def test_a_failed_download_is_one_line(refusal, source, name, folder):
    says = refusal(f"ingest.source={source}", "ingest.fashion-mnist.root=none", "ingest.fashion-mnist.download=raw")
    assert says.startswith(f"{folder}: expected the files of {name}; downloading them failed: ")


def test_cifar_100_has_twenty_superclasses_of_five_classes():
    assert len(COARSE) == 20
    assert {len(members) for members in COARSE.values()} == {5}
    assert len({member for members in COARSE.values() for member in members}) == 100


def test_a_pickle_of_another_checksum_is_never_read(ingest, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    folder = tmp_path / torchvision().datasets.CIFAR10.base_folder
    folder.mkdir()
    for name, _ in (*torchvision().datasets.CIFAR10.train_list, *torchvision().datasets.CIFAR10.test_list):
        (folder / name).write_bytes(pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [Trap()]}))
    result = ingest("ingest.source=cifar10", f"ingest.cifar10.root={tmp_path}", code=1)
    assert "downloading them failed" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "sprung").exists()


def test_cifar_s_pixels_keep_rows_columns_and_colours(ingest, monkeypatch):
    """torchvision's arrays are (row, column, colour)."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)

    def small(_root, *, train, **_):
        return SimpleNamespace(
            classes=[*"0123456789"], data=pixels[:10] if train else pixels[10:], targets=[*range(10)]
        )

    monkeypatch.setattr(torchvision().datasets, "CIFAR10", small)
    ingest("ingest.source=cifar10")
    own, path = load(manifest(), index(), "train", ""), paths()
    rows = [int(path[key].removeprefix("train/")) for key in own.keys]
    assert np.array_equal(own.pixels.numpy(), pixels[rows].transpose(0, 3, 1, 2))
