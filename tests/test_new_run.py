"""A folder of its own for a run: params laid over with their comments kept, and mistakes refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from stages.new_run import main
from tests.imports import ROOT


@pytest.fixture(autouse=True)
def dvc_on_path(monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def new_run(*arguments, code=0):
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result.output


def test_presets_and_values_are_laid_over_in_order_and_data_stays(tmp_path):
    (tmp_path / "preset.yaml").write_text("seed: 5\nselect: {budget: 7, usl: {alpha: 1.0}}\n")
    for _ in range(2):
        new_run(tmp_path / "run", "--preset", tmp_path / "preset.yaml", "--set", "seed=6")
        (tmp_path / "run/data/mine").write_text("stays")
    text = (tmp_path / "run/params.yaml").read_text()
    params = YAML(typ="safe").load(text)
    default = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    assert (params["seed"], params["select"]["budget"], params["select"]["usl"]["alpha"]) == (6, 7, 1.0)
    assert params["train"] == default["train"]
    assert "# Every number that changes a result, once." in text
    assert 'attributes: ""' in text
    assert (tmp_path / "run/data/mine").read_text() == "stays"
    assert (tmp_path / "run/pipeline/fit.py").read_bytes() == (ROOT / "pipeline/fit.py").read_bytes()


def test_the_code_and_other_peoples_folders_are_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    own = "expected a folder for a run, got one of the code's own"
    other = "expected a new folder or one laid out before, found other files in it"
    for folder, why in ((ROOT, own), (ROOT.parent, own), (ROOT / "stages", own), (tmp_path / "mine", other)):
        assert new_run(folder, code=1) == f"Error: {folder}: {why}\n"
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_preset_that_is_not_there_is_refused_with_the_one_meant(tmp_path):
    said = new_run(tmp_path / "run", "--preset", "presets/photos/adaptd.yaml", code=1)
    wanted = "expected a preset, found no such file; is it presets/photos/adapted.yaml?"
    assert said == f"Error: presets/photos/adaptd.yaml: {wanted}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "select: {buget: 7}",
            "preset.yaml: select: buget: expected a key of params.yaml, found none of that name; is it budget?",
        ),
        (
            "train: {paws: {view: {flip: 0.5}}}",
            "preset.yaml: train.paws.view: expected its new name, train.view, got the old one",
        ),
        ("select: 7", "preset.yaml: select: expected a block, got 7"),
        ("[", "preset.yaml: line 1: expected YAML, got: expected the node content, but found '<stream end>'"),
    ],
)
def test_refusals(content, message, tmp_path):
    (tmp_path / "preset.yaml").write_text(content)
    says = new_run(tmp_path / "run", "--preset", tmp_path / "preset.yaml", code=1)
    assert says == f"Error: {tmp_path}/{message}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("train.methd=fixmatch", "methd: expected a key of params.yaml, found none of that name; is it method?"),
        ("trian.method=fixmatch", "trian: expected a key of params.yaml, found none of that name; is it train?"),
        ("train.paws.view.flip=0.5", "train.paws.view: expected its new name, train.view, got the old one"),
        ("select.xyz=1", "xyz: expected a key of params.yaml, found none of that name"),
        ("seed.x=1", "seed is a value, not a block"),
    ],
)
def test_a_value_for_a_key_that_is_not_there_is_refused(item, message, tmp_path):
    assert new_run(tmp_path / "run", "--set", item, code=1) == f"Error: --set {item}: {message}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stage", ["pretrain", "select", "train"])
def test_a_method_that_is_not_there_is_refused_with_the_names(stage, tmp_path):
    says = new_run(tmp_path / "run", "--set", f"{stage}.method=typo", code=1)
    assert says.startswith(f"Error: params.yaml: {stage}.method: expected one of ")
    assert says.endswith(", got 'typo'\n")
    assert not (tmp_path / "run").exists()


def test_blocks_that_are_free_take_any_key(tmp_path):
    sets = ("pretrain.second.blur_prob=0.1", "pretrain.second.hue=0.2", "train.distill.backbone=vit_tiny")
    sets += ("train.distill.options={patch_size: 4, image_size: 32}",)
    new_run(tmp_path / "run", *(part for item in sets for part in ("--set", item)))
    params = YAML(typ="safe").load((tmp_path / "run/params.yaml").read_text())
    assert params["pretrain"]["second"] == {"blur_prob": 0.1, "hue": 0.2}
    assert params["train"]["distill"]["options"] == {"patch_size": 4, "image_size": 32}


def git(folder, *command):
    return subprocess.run(("git", *command), cwd=folder, capture_output=True, text=True, check=True).stdout


def test_with_git_the_code_is_committed_the_labels_are_seen_and_nothing_is_staged(tmp_path, monkeypatch):
    """Laid out a second time, when a person has staged and changed files: those stay as they are."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")  # git does not know who commits
    run = tmp_path / "run"
    new_run(run)
    assert not (run / ".git").exists()
    new_run(run, "--git")
    assert git(run, "status", "--porcelain") == ""
    assert set(git(run, "ls-files").split("\n")) >= {"params.yaml", "dvc.yaml", ".dvc/config", "data/rounds/.gitkeep"}
    labels = ("data/annotations/labels.csv", "data/annotations/pictures.csv", "data/rounds/00/labels.csv")
    made = ("data/annotations/template.csv", "data/rounds/outputs/rows.npy", "data/train/model.json", ".dvc/cache/x")
    for name in (*labels, *made, "data/images/0.png", "notes.txt"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).touch()
    git(run, "add", "notes.txt")
    new_run(run, "--git", "--set", "seed=1")
    assert git(run, "status", "--porcelain", "-uall").splitlines() == [
        "A  notes.txt",
        *(f"?? {name}" for name in labels),
    ]
    assert git(run, "diff", "--stat", "HEAD~", "HEAD").splitlines()[0].split() == ["params.yaml", "|", "2", "+-"]
    assert git(ROOT, "check-ignore", "--no-index", *labels, *made[:3]).split() == list(made[:3])  # the checkout too
