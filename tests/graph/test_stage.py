"""The command `graph` and vectors that no memory holds."""

import numpy as np
from click.testing import CliRunner

from stages.graph import main
from tests.imports import ROOT

ROWS = 10**9


def test_vectors_beyond_the_memory_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train = tmp_path / "data/embed/train"
    train.mkdir(parents=True)
    np.save(train / "vectors.npy", np.empty((0, 2048), np.float32))
    header = (train / "vectors.npy").read_bytes().replace(b"(0, 2048), }" + b" " * 9, b"(1000000000, 2048), }")
    with (train / "vectors.npy").open("wb") as file:
        file.write(header)
        file.truncate(len(header) + ROWS * 2048 * 4)  # 8 TB that take no room on the disk
    result = CliRunner().invoke(main, ["--params", str(ROOT / "params.yaml")])
    assert result.exit_code == 1
    assert result.stderr.startswith(
        "Error: data/embed/train/vectors.npy: expected vectors whose neighbours are found in this machine's "
    )
    assert "got some that need 32,768,000: set a smaller embed.dim, or take a larger machine" in result.stderr
    assert not (tmp_path / "data/graph").exists()
