"""What can go stale in the README is held against the code."""

import re

import pytest

from pipeline.ingest.sources import SOURCES
from pipeline.nn.backbones import BACKBONES
from pipeline.pretrain.methods import METHODS as SELFSUP
from pipeline.select.methods import SELECTORS
from pipeline.train.methods import METHODS as SEMISUP
from tests.graph import ROOT

README = (ROOT / "README.md").read_text()
PARAMS = (ROOT / "params.yaml").read_text()


@pytest.mark.parametrize("name", [*SELECTORS, *SELFSUP, *SEMISUP, *BACKBONES])
def test_the_readme_names_every_method_that_can_be_swapped(name):
    assert name in README


@pytest.mark.parametrize("name", [*SELECTORS, *SELFSUP, *SEMISUP, *BACKBONES, *SOURCES])
def test_params_has_a_block_for_every_method(name):
    assert re.search(rf"^ +{re.escape(name)}:", PARAMS, re.MULTILINE)


def test_every_path_in_the_readme_exists():
    table = README.split("## Where the code is")[1]
    paths = {path for path in re.findall(r"`([\w./-]+)`", table) if "/" in path or "." in path}
    short = {"select/", "semisup/", "report/"}  # written after their parent
    missing = [p for p in paths if not ((ROOT / p).exists() or (p in short and (ROOT / "pipeline" / p).exists()))]
    assert missing == []
    for link in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / link).exists()


def test_commands_in_the_readme_are_make_targets():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make (\w+)", README)) <= targets
