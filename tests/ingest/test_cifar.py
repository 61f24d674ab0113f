"""CIFAR's own files are not at hand in the tests: what is tried is the tables, and what happens without the files."""

import pickle

import numpy as np
import pytest

from pipeline.base.torchvision_import import torchvision
from pipeline.ingest.sources.cifar import COARSE


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No network, whatever the machine has: nothing listens there."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def test_twenty_superclasses_of_five_classes():
    assert len(COARSE) == 20
    assert {len(members) for members in COARSE.values()} == {5}
    assert len({member for members in COARSE.values() for member in members}) == 100


@pytest.mark.parametrize(("source", "name"), [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_a_failed_download_is_one_line(refusal, source, name):
    says = refusal(f"ingest.source={source}")
    assert says.startswith(f"data/raw: expected the files of {name}; downloading them failed: ")


def test_a_pickle_of_another_checksum_is_never_read(ingest, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    folder = tmp_path / torchvision().datasets.CIFAR10.base_folder
    folder.mkdir()
    for name, _ in (*torchvision().datasets.CIFAR10.train_list, *torchvision().datasets.CIFAR10.test_list):
        (folder / name).write_bytes(pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [Trap()]}))
    result = ingest("ingest.source=cifar10", f"ingest.cifar10.root={tmp_path}")
    assert result.exit_code == 1
    assert "downloading them failed" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "sprung").exists()
