"""Shapes in signatures are checked in the tests only: the hook must be in place before pipeline is first imported."""

import os
import shutil
from pathlib import Path

# Tests are many small computations: threads that wait for each other cost more than they bring.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from jaxtyping import install_import_hook

import tests.shapes

install_import_hook("pipeline", f"{tests.shapes.__name__}.typecheck").__enter__()


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """The data folder of a small real run, up to but without `evaluate`; copy it before you change it."""
    from tests.digits_tree import build

    return build(tmp_path_factory.mktemp("run") / "data")


@pytest.fixture
def streamed():
    """Makes feeds of (manifest, index) by two threads, which are closed at the end."""
    import torch

    from pipeline.pretrain.streamed import StreamedFeed
    from tests.digits import CONTRASTIVE, NO_LOCAL

    feeds = []

    def make(data, views=(CONTRASTIVE, CONTRASTIVE), local=NO_LOCAL, batch_size=8, seed=0, **options):
        options = {"device": torch.device("cpu"), "threads": 2, "reading": None, "window": 1, **options}
        feeds.append(StreamedFeed(*data, "train", views, local, batch_size, seed, **options))
        return feeds[-1]

    yield make
    for feed in feeds:
        feed.close()


@pytest.fixture
def run(digits_run, tmp_path, monkeypatch):
    """A copy of a small real run's data folder, and the folder that holds it as working directory."""
    from tests.imports import ROOT

    shutil.copytree(digits_run, tmp_path / "data")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return Path("data")


@pytest.fixture(scope="module")
def browser():
    """A Chromium. While it is open asyncio cannot run another loop in this thread, so it closes after each file."""
    from tests.browser import launched

    with launched() as browser:
        yield browser
