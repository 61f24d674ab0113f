import gzip
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.labels import Classes, Labels, Sources
from pipeline.artifacts.shards import Manifest
from pipeline.base.errors import SourceError
from pipeline.ingest.sources.fashion_mnist import read_idx

REAL = Path("/usr/share/datasets/fashion-mnist")
FASHION = "ingest.source=fashion-mnist"
OUT = Path("data/ingest")


def idx(array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


@pytest.fixture
def small(tmp_path):
    """The four files in the data set's format, of 30 and 20 images."""
    pixels = np.random.default_rng(0).integers(0, 256, (50, 28, 28), dtype=np.uint8)
    labels = np.arange(50, dtype=np.uint8) % 10
    for prefix, own in (("train", slice(30)), ("t10k", slice(30, 50))):
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(idx(pixels[own]))
        (tmp_path / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(idx(labels[own]))
    return tmp_path


def test_four_idx_files_arrive_whole(ingest, small):
    assert ingest(FASHION, f"ingest.fashion-mnist.root={small}").exit_code == 0
    manifest = Manifest.read(OUT / "manifest.json")
    assert (manifest.channels, manifest.size, manifest.count("train"), manifest.count("test")) == (1, (28, 28), 30, 20)
    paths, answers = Sources.read(OUT / "sources.csv").path, Labels.read(OUT / "answers.csv").rows
    names = {path: answers[key] for key, path in paths.items()}
    assert names["train/00009"] == names["test/00009"] == ["Ankle boot", "footwear"]
    assert names["train/00010"] == ["T-shirt/top", "tops"]
    classes = Classes.read(OUT / "classes.json").names
    assert classes["label"][:3] == ["T-shirt/top", "Trouser", "Pullover"]
    assert classes["coarse"] == ["tops", "trousers", "dresses", "footwear", "bags"]


def test_other_bytes_are_refused(refusal, small):
    file = small / "t10k-labels-idx1-ubyte.gz"
    file.write_bytes(idx(np.zeros(19, np.uint8)))
    says = refusal(FASHION, f"ingest.fashion-mnist.root={small}")
    assert says == f"{small}: expected a label 0 to 9 for each of the 20 test images"
    file.write_bytes(idx(np.zeros((20, 1), np.uint8)))
    with pytest.raises(SourceError) as error:
        read_idx(file, 1)
    assert str(error.value) == f"{file}: expected idx bytes with 1 axes, got 32 bytes that are not"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(SourceError, match="expected a gzipped idx file, got: Compressed file ended before"):
        read_idx(file, 1)


def test_a_failed_download_is_one_line(refusal, monkeypatch, tmp_path):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nothing listens: no network, whatever the machine has
    says = refusal(FASHION, f"ingest.fashion-mnist.root={tmp_path}", "ingest.fashion-mnist.download=raw")
    assert says.startswith("raw: expected the files of Fashion-MNIST; downloading them failed: ")


@pytest.mark.skipif(not REAL.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_real_files_are_what_they_should_be():
    labels = read_idx(REAL / "t10k-labels-idx1-ubyte.gz", 1)
    images = read_idx(REAL / "t10k-images-idx3-ubyte.gz", 3)
    assert images.shape == (10000, 28, 28)
    assert Counter(labels.tolist()) == dict.fromkeys(range(10), 1000)
    assert labels[:5].tolist() == [9, 2, 1, 1, 6]
