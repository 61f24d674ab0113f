"""Backbones: shapes, sizes, normalisation that travels, and files that do not fit."""

import importlib
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from pipeline.artifacts.model import Weights
from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.base.torchvision_import import torchvision
from pipeline.nn.arrays import from_arrays, to_arrays
from pipeline.nn.backbones import BACKBONES, SmallResNet, fresh
from pipeline.nn.classifier import build, read_backbone, untrained
from tests.digits import backbone, digits
from tests.refusals import refusal_of

torchvision()  # these two here, so that no single test waits for them
TIMM = find_spec("timm") and importlib.import_module("timm")

OPTIONS = {
    "small_resnet": {"width": 16, "stem_stride": 2},
    "wide_resnet10_1": {},
    "wide_resnet28_2": {},
    "wide_resnet28_8": {},
    "wide_resnet28_10": {},
    "resnet18": {"small_stem": True},
    "resnet34": {"small_stem": True},
    "resnet50": {"small_stem": False},
    "resnet101": {"small_stem": False},
    "split_resnet": {"width": 32, "stem_stride": 2, "sees": "both"},
    "vit_tiny": {"patch_size": 8, "image_size": 24},
    "vit_small": {"patch_size": 4, "image_size": 16},
    "vit_base": {"patch_size": 16, "image_size": 224},
    "timm": {"model": "test_vit"},
}
SMALL = ["small_resnet", "split_resnet", "wide_resnet10_1", "wide_resnet28_2", "vit_tiny", "timm"]


def entries(names):
    """Each name with each number of channels that it takes."""
    absent = pytest.mark.skipif(not TIMM, reason="needs timm")
    return [
        pytest.param(name, channels, marks=absent if name == "timm" else ())
        for name in sorted(names)
        for channels in ((3,) if name == "split_resnet" else (1, 3, 5))
    ]


def empty(name, channels, **options):
    """A backbone without storage, from its description: big ones would take seconds to fill with random numbers."""
    with torch.device("meta"):
        return build({"name": name, "options": OPTIONS[name] | options, "channels": channels}).eval()


@pytest.mark.parametrize(("name", "channels"), entries(BACKBONES))
def test_every_backbone_has_the_dimension_it_says_and_is_built_from_what_it_says(name, channels):
    net = empty(name, channels)
    assert net.about == {"name": name, "options": OPTIONS[name], "channels": channels}
    assert net(torch.zeros(2, channels, 16, 16, dtype=torch.uint8, device="meta")).shape == (2, net.dim)


@pytest.mark.parametrize("name", sorted(BACKBONES.keys() - {"timm"}))
def test_the_last_two_stages_before_the_features_give_a_mean_of_their_maps(name):
    net = empty(name, 3)
    features, means = net.with_intermediate(torch.zeros(2, 3, 16, 16, dtype=torch.uint8, device="meta"))
    assert features.shape == (2, net.dim)
    none = name.startswith(("vit", "split"))
    assert [mean.shape for mean in means] == ([] if none else [(2, net.dim // 4), (2, net.dim // 2)])


@pytest.mark.parametrize(
    "name",
    ["small_resnet", "wide_resnet10_1", "resnet18", "test_resnet", "vit_tiny", "split_resnet", "mobilenetv3_small_050"],
)
def test_the_features_are_the_mean_of_the_last_maps_or_there_are_none(name):
    """MobileNet has a layer behind the pooling."""
    of_timm = name not in OPTIONS
    if of_timm:
        pytest.importorskip("timm")
    kind = "timm" if of_timm else name
    net = build({"name": kind, "options": {"model": name} if of_timm else OPTIONS[name], "channels": 3}).eval()
    images = torch.rand(2, 3, 24, 24)
    if name in ("vit_tiny", "split_resnet", "mobilenetv3_small_050"):
        says = f"pretrain.backbone: expected one whose features are means of its last maps, got {kind}"
        assert refusal_of(net.maps, images, kind=ParamsError) == says
    else:
        torch.testing.assert_close(net.maps(images).mean(dim=(2, 3)), net(images))


def test_stages_are_the_maps_in_which_a_resolution_ends():
    """Blocks within a group, and maps of other channels than the stage says, are none."""
    net = fresh("wide_resnet28_2", BACKBONES["wide_resnet28_2"](), torch.randint(0, 256, (4, 1, 8, 8)).byte()).eval()
    images = torch.rand(3, 1, 8, 8)
    features, means = net.with_intermediate(images)
    torch.testing.assert_close(features, net(images))
    for mean, end in zip(means, (5, 9), strict=True):  # a stem, and four blocks a group
        torch.testing.assert_close(mean, net.body[:end](net.normalised(images)).mean(dim=(2, 3)))
    with torch.autocast("cpu", torch.bfloat16):
        assert [mean.dtype for mean in net.with_intermediate(images)[1]] == [torch.float32] * 2
    assert not any(module._forward_hooks for module in net.modules())
    net._stages["8"] += 1
    torch.testing.assert_close(net.with_intermediate(images)[1], means[:1])


@pytest.mark.parametrize(("name", "channels"), entries(SMALL))
def test_bytes_and_floats_are_one_and_features_survive_the_file(name, channels, tmp_path):
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (4, channels, 16, 16), dtype=torch.uint8)
    net = fresh(name, BACKBONES[name](**OPTIONS[name]), pixels)
    assert net.training
    net.eval()
    out = net(pixels)
    assert out.shape == (4, net.dim)
    assert out.std(dim=0).max() > 1e-3  # images of chance are told apart
    torch.testing.assert_close(net(pixels.float() / 255), out)
    torch.testing.assert_close(net.mean.flatten(), (pixels / 255).mean(dim=(0, 2, 3)), rtol=1e-4, atol=0)
    torch.testing.assert_close(net.std.flatten(), (pixels / 255).std(dim=(0, 2, 3), correction=0), rtol=1e-4, atol=0)
    Weights(to_arrays(net), {"backbone": net.about}).write(tmp_path, "backbone")
    torch.testing.assert_close(read_backbone(tmp_path).eval()(pixels), out)


SIZES = {  # as published or in torchvision's and timm's tables, less the layer for classes
    ("small_resnet", 1): 306_784,
    ("wide_resnet10_1", 3): 77_850 - 650,
    ("wide_resnet28_2", 3): 1_466_320,  # 1.5 million in USB
    ("wide_resnet28_8", 3): 23_354_842 - 5_130,
    ("wide_resnet28_10", 3): 36_479_194 - 6_410,  # 36.5 million in the paper
    ("resnet18", 3): 11_689_512 - 513_000,
    ("resnet34", 3): 21_797_672 - 513_000,
    ("resnet50", 3): 25_557_032 - 2_049_000,
    ("resnet101", 3): 44_549_160 - 2_049_000,
    ("split_resnet", 3): 154_352,
    ("vit_tiny", 3): 5_717_416 - 193_000,
    ("vit_small", 3): 22_050_664 - 385_000,
    ("vit_base", 3): 86_567_656 - 769_000,
}
STANDARD = {"small_resnet": {"width": 32, "stem_stride": 1}}
STANDARD |= {name: {"small_stem": False} for name in BACKBONES if name.startswith("resnet")}
STANDARD |= {name: {"patch_size": 16, "image_size": 224} for name in BACKBONES if name.startswith("vit")}


@pytest.mark.parametrize(("name", "channels"), sorted(SIZES))
def test_sizes(name, channels):
    net = empty(name, channels, **STANDARD.get(name, {}))
    assert sum(p.numel() for p in net.parameters()) == SIZES[name, channels]


def test_every_backbone_of_our_own_has_its_size_checked():
    assert {name for name, _ in SIZES} == BACKBONES.keys() - {"timm"}


def test_weights_of_the_small_networks_depend_on_the_seed_as_ever():
    """Saved results hold as long as these do."""
    sums = {"small_resnet": -15.655858376738024, "wide_resnet28_2": -33.37876200192197}
    for name, total in sums.items():
        torch.manual_seed(0)
        net = BACKBONES[name](**OPTIONS[name]).build(3)[0]
        weights = [m.weight for m in net.modules() if isinstance(m, nn.Conv2d)]
        assert sum(w.double().sum().item() for w in weights) == pytest.approx(total, rel=1e-6)


def test_normalisation_travels_with_the_weights():
    pixels = digits()[0]
    net = backbone()
    assert untrained(net).mean == net.mean
    assert {"mean", "std"} < set(to_arrays(net))
    assert fresh("small_resnet", SmallResNet(width=16, stem_stride=1), pixels * 0).std.item() == pytest.approx(1 / 255)


def test_files_that_do_not_fit_are_refused(tmp_path):
    net = backbone()
    arrays = to_arrays(net)
    short = {name: a for name, a in arrays.items() if name != "mean"}
    with pytest.raises(ArtifactError, match=r"^x: mean: expected shape \(1, 1, 1, 1\), got None$"):
        from_arrays(net, Weights(short, {}), tmp_path.joinpath("x").relative_to(tmp_path))
    Weights(arrays, {"backbone": {"name": "nonsense"}}).write(tmp_path, "backbone")
    with pytest.raises(ArtifactError, match=r"backbone.json: expected what pretrain wrote, got: KeyError\("):
        read_backbone(tmp_path)
    (tmp_path / "backbone.safetensors").write_bytes(b"spoilt")
    with pytest.raises(ArtifactError, match=r"backbone.safetensors: expected a safetensors file, got: "):
        read_backbone(tmp_path)


class Odd(nn.Module):
    """Stands for one of timm's networks that is not for these images."""

    head_hidden_size = 4

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (
            nn.Conv2d(1, 4, 3),
            "pretrain.backbones.timm: expected a network with one vector of 4 for an image, "
            "got an output of shape (1, 4, 6, 6)",
        ),
        (
            nn.Linear(5, 4),
            "pretrain.backbones.timm: expected a network for images of 8 x 8 and 1 channels, "
            "got: mat1 and mat2 shapes cannot be multiplied (8x8 and 5x4)",
        ),
    ],
)
def test_networks_that_do_not_take_the_images_are_refused_when_they_are_made(inner, message, monkeypatch):
    monkeypatch.setattr("pipeline.nn.timm_models.create", lambda *_, **__: Odd(inner))
    assert refusal_of(fresh, "timm", BACKBONES["timm"](model="odd"), digits()[0][:5], kind=ParamsError) == message


def test_bf16_on_a_cpu_is_refused_where_torchs_gradients_are_wrong():
    net = fresh("small_resnet", SmallResNet(width=16, stem_stride=2), torch.zeros(2, 1, 8, 8, dtype=torch.uint8))
    with torch.autocast("cpu", torch.bfloat16):
        net(torch.rand(2, 1, 8, 8))
        with pytest.raises(ParamsError, match=r"^machine.precision: expected fp32 .* got bf16 on a CPU$"):
            net(torch.rand(2, 1, 2, 2))
    net(torch.rand(2, 1, 2, 2))
