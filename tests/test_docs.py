"""What can go stale in the docs, the params and the presets is held against the code."""

import re

import pytest
from ruamel.yaml import YAML

from pipeline.base.params import Block, Params
from pipeline.ingest.sources import SOURCES
from pipeline.nn.backbones import BACKBONES
from pipeline.pretrain.methods import METHODS as PRETRAIN
from pipeline.select.methods import SELECTORS
from pipeline.train.methods import METHODS as TRAIN
from tests.imports import ROOT

README = (ROOT / "README.md").read_text()
PAGES = {file: file.read_text() for file in sorted((ROOT / "docs").glob("**/*.md"))}
PARAMS = Params.read(ROOT / "params.yaml")
KEYS = ROOT / "tests/golden/params_keys.txt"
TABLES: dict[str, dict[str, type[Block]]] = {
    "ingest": dict(SOURCES),
    "pretrain": {name: method.Params for name, method in PRETRAIN.items()},
    "pretrain.backbones": dict(BACKBONES),
    "select": dict(SELECTORS),
    "train": {name: method.Params for name, method in TRAIN.items()},
}
BLOCKS = [(f"{where}.{name}", block) for where, table in TABLES.items() for name, block in table.items()]
MOST_LINES = {
    "README.md": 130,
    "params.yaml": 320,
    "dvc.yaml": 280,
    "experiments/replicate/dvc.yaml": 70,
    **{f"stages/{file.name}": 40 for file in (ROOT / "stages").glob("[a-z]*.py") if file.name != "cli.py"},
}


@pytest.mark.parametrize(("dotted", "block"), BLOCKS)
def test_params_has_a_valid_block_for_every_method(dotted, block):
    assert type(PARAMS.block(dotted, block)) is block


def test_a_new_knob_is_a_decision():
    """params.yaml has these keys; `python -m tests.test_docs` writes the list anew."""
    assert keys() == KEYS.read_text().split()


@pytest.mark.parametrize(("stage", "name"), [(s, n) for s in ("pretrain", "select", "train") for n in TABLES[s]])
def test_each_method_has_one_page(stage, name):
    pages = [f.name for f, text in PAGES.items() if f.parent.name == "methods" and f"`{name}`" in headings(text)]
    own = [page for page in pages if page.startswith(f"{stage}-") or (stage == "select" and page == "auto.md")]
    assert len(own) == 1


@pytest.mark.parametrize("name", [*SELECTORS, *PRETRAIN, *TRAIN])
def test_the_readme_names_every_method_that_can_be_swapped(name):
    assert re.search(rf"`{re.escape(name)}`", README)


@pytest.mark.parametrize("file", [ROOT / "README.md", *PAGES], ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file):
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", file.read_text()) if "://" not in link]
    assert [link for link in links if not (file.parent / link).exists()] == []


def test_every_path_in_the_file_map_exists():
    paths = re.findall(r"`([\w./-]+/[\w./-]*)`", README.split("## Where the code is")[1])
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_commands_are_make_targets():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for text in (README, *PAGES.values()) for name in re.findall(r"`make ([\w-]+)", text)}
    assert {"demo", "test", "test-all"} <= named <= targets


@pytest.mark.parametrize(("name", "most"), MOST_LINES.items())
def test_what_a_newcomer_reads_first_is_short(name, most):
    assert len((ROOT / name).read_text().splitlines()) <= most


def headings(text: str) -> str:
    """The headings of a page, and the first cells of its tables."""
    return "\n".join(re.findall(r"^(?:#+ .*|\| [^|]*)", text, re.MULTILINE))


def keys() -> list[str]:
    def below(node: object, above: str) -> list[str]:
        if not isinstance(node, dict) or not node:
            return [above]
        return [key for name, value in node.items() for key in below(value, f"{above}.{name}" if above else str(name))]

    return below(YAML(typ="safe").load((ROOT / "params.yaml").read_text()), "")


if __name__ == "__main__":
    KEYS.write_text("".join(f"{key}\n" for key in keys()))
