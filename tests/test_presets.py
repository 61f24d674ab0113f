"""Every preset lies over params.yaml and makes blocks that are accepted."""

import re

import pytest

from pipeline.base.params import Params, parse_yaml
from pipeline.check_params import check_params
from pipeline.label.run import LABELLERS, LabelParams
from pipeline.new_run import merge
from pipeline.pretrain.methods import METHODS
from pipeline.pretrain.recipe import Recipe
from pipeline.train.methods import METHODS as SEMISUP
from pipeline.train.methods import PROPAGATE
from pipeline.train.task import TrainParams
from tests.imports import ROOT

PRESETS = sorted((ROOT / "presets").glob("*/*.yaml"))


def laid_over(file):
    """params.yaml with a preset on it, and the preset."""
    params = Params.read(ROOT / "params.yaml")
    preset = parse_yaml(file.read_text(), file.name)
    merge(params.tree, preset, file.name)
    return params, preset


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_preset_is_accepted(file):
    params, preset = laid_over(file)
    check_params(params)
    recipe = Recipe.read(params)
    train = params.stage("train", TrainParams, (*SEMISUP, PROPAGATE))
    published = file.parent.name in ("cifar10", "cifar100", "imagenet")
    if published and "method" in preset.get("train", {}):
        assert train.method == file.stem.split("-")[0]
        assert train.start == "scratch"
        assert params.stage("label", LabelParams, LABELLERS).levels(preset["select"]["budget"])
    elif published:
        assert recipe.common.method == file.stem.split("-")[0]
        assert recipe.common.backbone == {"imagenet": "resnet50"}.get(file.parent.name, "resnet18")
        images = {"imagenet": 1_281_167}.get(file.parent.name, 50_000)
        assert 90 <= recipe.common.steps * recipe.common.batch_size / images <= 1000


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_preset_begins_with_its_command_its_cost_and_the_figure_to_expect(file):
    lines = file.read_text().splitlines()[:3]
    assert all(re.fullmatch(r"# \S.*\.?", line) for line in lines)
    assert f"--preset {file.relative_to(ROOT)}" in lines[0]
    assert "dvc repro" in lines[0]
    assert re.search(r"hour|day|minute|second|not known", lines[1])
    assert re.search(r"%|not recorded here|No figure is known", lines[2])


def test_every_method_has_its_published_settings():
    named = {file.stem for file in PRESETS if file.parent.name in ("cifar10", "cifar100", "imagenet")}
    assert {name.split("-")[0] for name in named} >= set(METHODS)
    theirs = {"supervised", "finetune", "linear", "distill"}  # baselines, and a teacher's pupil
    assert named >= {"cmsf-semi" if name in METHODS else name for name in set(SEMISUP) - theirs}
