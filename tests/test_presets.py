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
from tests.method_values import MASKED

SLIDES = ROOT / "presets/pathology/slides.yaml"
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
        assert train.start == ("pretrained" if train.method in ("bit", "gcd", "promptcal") else "scratch")
        assert params.stage("label", LabelParams, LABELLERS).levels(preset["select"]["budget"])
    elif published:
        assert recipe.common.method == file.stem.split("-")[0]
        usual = {"imagenet": "resnet50"}.get(file.parent.name, "resnet18")
        theirs = {
            **dict.fromkeys(MASKED, "vit_base"),
            "dino": "vit_small",
            "simreg": "resnet18",
            "split_brain": "split_resnet",
        }
        assert recipe.common.backbone == theirs.get(recipe.common.method, usual)
        images = {"imagenet": 1_281_167}.get(file.parent.name, 50_000)
        assert 70 <= recipe.common.steps * recipe.common.batch_size / images <= 1000


@pytest.mark.parametrize("file", PRESETS, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_preset_begins_with_its_command_its_cost_and_the_figure_to_expect(file):
    lines = file.read_text().splitlines()[:3]
    assert all(re.fullmatch(r"# \S.*\.?", line) for line in lines)
    assert f"--preset {file.relative_to(ROOT)}" in lines[0]
    assert "dvc repro" in lines[0]
    assert re.search(r"hour|day|minute|second|not known", lines[1])
    assert re.search(r"%|not recorded here|No figure is known", lines[2])


def test_every_method_has_its_published_settings():
    named = {
        file.stem
        for file in PRESETS
        if file.parent.name in ("cifar10", "cifar100", "imagenet", "cub", "eurosat", "coco")
    }
    unknown = {"xmoco"}  # to us: its page says so
    assert {name.split("-")[0] for name in named} >= set(METHODS) - unknown
    theirs = {"supervised", "finetune", "linear", "distill"}  # baselines, and a teacher's pupil
    assert named >= {"cmsf-semi" if name in METHODS else name for name in set(SEMISUP) - theirs}


@pytest.mark.parametrize("method", ["moco", "swav", "barlow_twins", "dino"])
def test_slides_lie_over_the_four_methods_of_the_study(method):
    params, _ = laid_over(ROOT / f"presets/imagenet/{method}.yaml")
    merge(params.tree, laid_over(SLIDES)[1], "slides")
    check_params(params)
    common = Recipe.read(params).common
    assert common.method == method
    assert {(view.turn_prob, view.flip_down, view.stain) for view in common.views} == {(0.5, 0.5, 0.05)}
    steps = re.search(rf"(\d+) for {method}", SLIDES.read_text())
    assert abs(int(steps.group(1)) - 200 * 1_281_167 / common.batch_size) < 1


MATCHES = [f"{cifar}/{name}" for cifar in ("cifar10", "cifar100") for name in ("freematch", "softmatch")]
# Values that were once wrong here, as the sources in the presets' headers have them.
SOURCES = [
    *((name, "train.warm_averages", False) for name in MATCHES),
    ("cifar100/freematch", "train.freematch.fairness", 0.001),
    ("cifar10/paws", "train.view.grey_prob", 0.0),
    ("cifar10/paws", "train.view.solarize_prob", 0.2),
    ("cifar10/paws", "train.view.equalize_prob", 0.2),
    ("imagenet/paws", "train.steps", round(100 * 1_281_167 / 4096)),
    ("imagenet/pirl", "pretrain.view.crop_min", 0.08),
    ("imagenet/pirl", "pretrain.view.jitter_prob", 1.0),
    ("imagenet/pirl", "pretrain.view.hue", 0.2),
    ("imagenet/pirl", "pretrain.second.crop_min", 0.6),
    *(
        (f"{data}/moco-cld", f"pretrain.{key}", value)
        for data, values in {
            "cifar10": (256, 0.06, 8e-4, 0.025, 12288, 0.07, 0.999, 0.8, 200, 5),
            "cifar100": (128, 0.03, 7e-4, 0.025, 4096, 0.07, 0.999, 0.25, 100, 5),
            "imagenet": (512, 0.2, 1e-4, 0.0, 65536, 0.2, 0.999, 0.25, 100, 5),
        }.items()
        for key, value in zip(
            ("batch_size", "optim.learning_rate", "optim.weight_decay", "optim.warmup", "moco.queue_size",
             "moco.temperature", "moco.momentum_end", "cld.weight", "cld.clusters", "cld.iterations"),
            values, strict=True,
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "key", "value"), SOURCES, ids=lambda part: str(part))
def test_a_preset_has_the_value_of_its_source(name, key, value):
    found = laid_over(ROOT / f"presets/{name}.yaml")[0].tree
    for part in key.split("."):
        found = found[part]
    assert found == value


@pytest.mark.parametrize("data", ["cifar10", "cifar100", "imagenet"])
def test_cld_has_a_gradient_from_both_views(data):
    """Beside a MoCo that is one-sided the second view's features would be the slow branch's."""
    assert laid_over(ROOT / f"presets/{data}/moco-cld.yaml")[0].tree["pretrain"]["moco"]["symmetric"] is True
