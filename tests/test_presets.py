"""Every preset lies over params.yaml and makes blocks that are accepted."""

import pytest

from pipeline.params import Params, parse_yaml
from pipeline.selfsup import METHODS
from pipeline.selfsup.recipe import Recipe
from stages.new_run import merge
from tests.graph import ROOT

PRESETS = sorted((ROOT / "presets").glob("*/*.yaml"))


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_preset_is_accepted(file):
    params = Params.read(ROOT / "params.yaml")
    preset = parse_yaml(file.read_text(), file.name)
    merge(params.tree, preset, file.name)
    recipe = Recipe.read(params)
    if file.parent.name in ("cifar10", "cifar100", "imagenet"):
        assert recipe.common.method == file.stem.split("-")[0]
        assert recipe.common.backbone == {"imagenet": "resnet50"}.get(file.parent.name, "resnet18")
        images = {"imagenet": 1_281_167}.get(file.parent.name, 50_000)
        assert 90 <= recipe.common.steps * recipe.common.batch_size / images <= 1000


def test_every_method_has_its_published_settings():
    named = {file.stem.split("-")[0] for file in PRESETS if file.parent.name == "imagenet"}
    assert named == set(METHODS)
