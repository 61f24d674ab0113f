import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.embeddings import Embeddings
from tests.imports import ROOT
from tests.select.command import KEYS


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the params, the chain's vectors of sixty images, and the same as a bare matrix."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    x = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    Path("data/embed/train").mkdir(parents=True)
    Path("data/rounds").mkdir()
    Embeddings(KEYS, x).write(Path("data/embed/train"))
    np.save("x.npy", x)
