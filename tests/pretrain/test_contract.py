"""What each self-supervised method must do with its default values and its presets', on each kind of backbone.

Images, widths and batches are small; every other value is that of params.yaml or of the preset.
"""

from contextlib import suppress
from copy import deepcopy
from functools import cache

import pytest
import torch
from torch import nn

from pipeline.artifacts.model import Weights
from pipeline.base.errors import ParamsError
from pipeline.base.params import Params, parse_yaml
from pipeline.base.torchvision_import import torchvision
from pipeline.new_run import merge
from pipeline.nn.arrays import from_arrays, to_arrays
from pipeline.nn.backbones import BACKBONES
from pipeline.nn.classifier import read_backbone
from pipeline.nn.mlp import built, described, flat
from pipeline.nn.vit import VisionTransformer
from pipeline.pretrain.feed import Feed
from pipeline.pretrain.methods import METHODS
from pipeline.pretrain.recipe import Recipe
from tests.digits import digits, larger, stopping, tinted
from tests.imports import ROOT
from tests.method_values import MASKED
from tests.pretrain.family import CPU, trained
from tests.refusals import refusal_of

IMAGES, SIDE, BATCH, STEPS = 24, 32, 8, 3
LARGEST, FEWER = 12, {"bn_groups": 4, "clusters": 4}  # of the whole numbers in a block: widths, queues, prototypes
PRESETS = {f"{file.parent.name}/{file.stem}": file for file in sorted((ROOT / "presets").glob("*/*.yaml"))}
# Of sides that 8 divides, or 16.
CELLS = {"pirl": {"patch": 1.0}, "jigsaw": {"patch": 1.0}, "context": {"patch": 0.75}, "orl": {"crop": 0.5}}
TOO_SMALL = {("context", "timm_vit")}  # a third of the side has no patch of 16 pixels
ALONE = {**dict.fromkeys(MASKED, "vit"), "split_brain": "split"}  # the net of methods that take no other
NETS = {  # options of each kind of backbone, and what a method must then be told for it
    "small_resnet": ("small_resnet", {"width": 16, "stem_stride": 2}, {}),
    "vit": ("vit_tiny", {"patch_size": 8, "image_size": 32}, CELLS),
    "split": ("split_resnet", {"width": 32, "stem_stride": 2, "sees": "both"}, {}),
    "timm_vit": ("timm", {"model": "test_vit"}, CELLS),
    "timm_resnet": ("timm", {"model": "test_resnet"}, {}),
}


class TinyViT(VisionTransformer):
    """As vit_tiny, narrower."""

    name, dim, heads = "vit_tiny", 24, 3


@cache
def read(file):
    return parse_yaml(file.read_text(), file.name)


def tree(method, preset=""):
    """params.yaml for the method, with a preset on it."""
    params = deepcopy(read(ROOT / "params.yaml"))
    if preset:
        merge(params, deepcopy(read(PRESETS[preset])), preset)
    params["pretrain"]["method"] = method
    return params


def cases():
    for method in METHODS:
        nets = (ALONE[method],) if method in ALONE else [net for net in NETS if net != "split"]
        yield from ((method, "", net) for net in nets if (method, net) not in TOO_SMALL)
    for preset, file in PRESETS.items():
        method = read(file).get("pretrain", {}).get("method")
        if method in METHODS:
            yield method, preset, ALONE.get(method, "small_resnet")


CASES = {" ".join(filter(None, case)): case for case in cases()}


def recipe(case, monkeypatch, **changes):
    """The recipe of a case, made small; `changes` are values of `pretrain`."""
    method, preset, net = case
    if net.startswith("timm"):
        torchvision()
        pytest.importorskip("timm")
    monkeypatch.setitem(BACKBONES, "vit_tiny", TinyViT)
    params = tree(method, preset)
    pretrain = params["pretrain"]
    for block in (pretrain[method], pretrain["cld"]):
        block |= {key: min(v, FEWER.get(key, LARGEST)) for key, v in block.items() if type(v) is int}
    name, options, wanted = NETS[net]
    pretrain[method] |= wanted.get(method, {})
    pretrain |= {"backbone": name, "steps": STEPS, "batch_size": BATCH}
    pretrain["backbones"][name] = dict(options)
    pretrain["simreg"]["teacher"] = larger(1)
    merge(pretrain, changes, "pretrain")
    return Recipe.read(Params.of(params, "params.yaml"))


def pixels(net=""):
    images = digits()[0][:IMAGES].repeat_interleave(SIDE // 8, 2).repeat_interleave(SIDE // 8, 3)
    return tinted(images) if net == "split_resnet" else images


def made(recipe, frozen=0.0):
    """The backbone, the method around it, and its batches."""
    images = pixels(recipe.common.backbone)
    backbone = recipe.backbone(images)
    backbone.freeze(frozen)
    method = recipe.learner(backbone, IMAGES, (SIDE, SIDE), CPU, images)
    common = recipe.common
    return backbone, method, Feed(images, recipe.views, common.local, common.batch_size, recipe.seed)


def run(recipe, folder, stop_at=None, frozen=0.0):
    """The backbone, the method and the curve of a run; nothing of one that dies at a step."""
    folder.mkdir(exist_ok=True)
    backbone, method, feed = made(recipe, frozen)
    with suppress(KeyboardInterrupt):
        rows = trained(method, stopping(feed, stop_at), folder, STEPS, recipe.common.optim, save_seconds=0.0)
        return backbone, method, rows


@pytest.mark.parametrize("case", CASES)
def test_it_trains_goes_on_after_a_kill_and_leaves_a_backbone(case, tmp_path, monkeypatch):
    values = recipe(CASES[case], monkeypatch)
    images = pixels(values.common.backbone)
    start, _, _ = made(values)
    backbone, method, rows = run(values, tmp_path / "whole")
    assert run(values, tmp_path / "parts", stop_at=2) is None
    _, other, again = run(values, tmp_path / "parts")
    assert rows == again
    parts = other.state_dict()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in method.state_dict().items())
    before = dict(start.named_parameters())
    still = [name for name, p in backbone.named_parameters() if p.ndim > 1 and torch.equal(p, before[name])]
    assert still == []
    Weights(to_arrays(backbone), {"backbone": backbone.about}).write(tmp_path, "backbone")
    h = backbone.eval()(images)
    assert torch.equal(read_backbone(tmp_path).eval()(images), h)
    head = flat(method.eval().projector)
    Weights(to_arrays(head), {"layers": described(head)}).write(tmp_path, "head")
    left = Weights.read(tmp_path, "head")
    again = from_arrays(built(left.about["layers"]), left, tmp_path).eval()
    assert torch.equal(again(h), method.projector(h))
    for count in range(1, sum(isinstance(layer, nn.ReLU | nn.GELU) for layer in head) + 1):
        end = [i for i, layer in enumerate(head) if isinstance(layer, nn.ReLU | nn.GELU)][count - 1] + 1
        assert torch.equal(read_backbone(tmp_path, count).eval()(images), head[:end](h))


def test_the_tasks_of_the_params_are_learnt_and_statistics_renewed(tmp_path, monkeypatch):
    values = recipe(("simclr", "fashion-mnist/multi_task", "small_resnet"), monkeypatch)
    backbone, _, rows = run(values, tmp_path / "run")
    assert rows[0]["rotation"] > 0
    before = {name: x.clone() for name, x in backbone.named_buffers() if name.endswith("running_mean")}
    values.finish(backbone, pixels(), CPU)
    after = dict(backbone.named_buffers())
    assert all(not torch.equal(x, after[name]) for name, x in before.items())


@pytest.mark.parametrize(("task", "count"), [("context", 1), ("exemplar", 2)])
def test_a_task_of_two_views_gets_them_beside_a_method_of_one(task, count, monkeypatch):
    values = recipe(("rotation", "", "small_resnet"), monkeypatch, multi_task={task: 1.0})
    views = made(values)[2](0)
    assert torch.equal(views.first, views.second) is (count == 1)
    assert len(values.views) == count


@pytest.mark.parametrize("method", METHODS)
def test_frozen_layers_of_a_transformer_stay(method, tmp_path, monkeypatch):
    """Or of the network of its own."""
    values = recipe((method, "", ALONE.get(method, "vit")), monkeypatch)
    start, _, _ = made(values)
    backbone, _, _ = run(values, tmp_path / "run", frozen=0.4)
    before = dict(start.named_parameters())
    moved = {name for name, p in backbone.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name, p in backbone.named_parameters() if p.requires_grad} != set(before)


@pytest.mark.parametrize("method", sorted(ALONE))
@pytest.mark.parametrize("net", ["small_resnet", "timm_vit", "timm_resnet"])
def test_who_needs_a_network_of_its_kind_refuses_others(method, net, monkeypatch):
    says = refusal_of(recipe, (method, "", net), monkeypatch, kind=ParamsError)
    kinds = "vit_tiny or vit_small or vit_base" if method in MASKED else "split_resnet"
    assert says == f"pretrain.backbone: expected {kinds} for {method}, got {NETS[net][0]}"


@pytest.mark.parametrize("method", sorted(MASKED))
def test_who_masks_patches_refuses_images_of_one(method, tmp_path, monkeypatch):
    values = recipe((method, "", "vit"), monkeypatch, backbones={"vit_tiny": {"patch_size": SIDE}})
    says = refusal_of(run, values, tmp_path / "run", kind=ParamsError)
    assert says.startswith("pretrain.backbones.vit_tiny.patch_size: expected two patches or more in an image")


FIELDS = [(name, field) for name, method in METHODS.items() for field in method.Params.model_fields]


@pytest.mark.parametrize(("method", "field"), FIELDS)
def test_a_value_that_is_none_is_refused_by_its_name(method, field):
    """None has a default in the code, and no number may be negative."""
    values = tree(method)["pretrain"][method]
    without = {name: value for name, value in values.items() if name != field}
    words = [] if isinstance(values[field], str) else [{**values, field: "a word"}]
    for block in (*words, {**values, field: -1}, {**values, field: -1.0}, without):
        params = Params({"pretrain": {method: block}}, "params.yaml")
        says = refusal_of(params.block, f"pretrain.{method}", METHODS[method].Params, kind=ParamsError)
        assert says.startswith("params.yaml: pretrain.")
        assert field in says


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        *((name, {"local": {"count": 2, "side": 0.4}}) for name, method in METHODS.items() if method.takes_local),
        *((name, {name: dict.fromkeys(values, 0.6)}) for name, values in CELLS.items()),
    ],
)
@pytest.mark.parametrize("net", ["vit", "timm_vit"])
def test_parts_of_images_that_patches_do_not_divide_are_refused(method, changes, net, tmp_path, monkeypatch):
    values = recipe((method, "", net), monkeypatch, **changes)
    says = refusal_of(run, values, tmp_path / "run", kind=ParamsError)
    assert says.startswith(f"pretrain.backbones.{NETS[net][0]}")
    assert " x " in says


@pytest.mark.parametrize("method", METHODS)
def test_small_views_are_learnt_from_or_refused(method, tmp_path, monkeypatch):
    local = {"count": 2, "side": 0.5}
    if METHODS[method].takes_local:
        values = recipe((method, "", "vit"), monkeypatch, local=local)
        without = recipe((method, "", "vit"), monkeypatch)
        assert run(values, tmp_path / "with")[2] != run(without, tmp_path / "without")[2]
    else:
        net = ALONE.get(method, "vit")
        says = refusal_of(lambda: recipe((method, "", net), monkeypatch, local=local), kind=ParamsError)
        assert says.startswith(
            f"pretrain.local.count: expected 0 with pretrain.method {method}, as small views are for "
        )
