"""timm's models as backbones; most of this needs timm."""

import sys

import pytest
import torch

from pipeline.base.errors import ParamsError
from pipeline.base.torchvision_import import torchvision
from pipeline.nn.backbones import fresh
from pipeline.nn.timm_models import TimmModel
from tests.refusals import refusal_of


@pytest.fixture
def timm():
    torchvision()
    return pytest.importorskip("timm")


def network(model, channels, side=32):
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (4, channels, side, side), dtype=torch.uint8)
    return fresh("timm", TimmModel(model=model), pixels).eval(), pixels


def test_timm_is_asked_for_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert refusal_of(TimmModel(model="resnet18").build, 3, kind=ParamsError) == (
        "pretrain.backbone: expected timm to be installed (pip install 'few-label-pipeline[timm]'), "
        "got: import of timm halted; None in sys.modules"
    )


NAMES = ["nonsense", "", "hf-hub:timm/resnet18.a1_in1k", "local-dir:/tmp", "timm/resnet18"]


@pytest.mark.parametrize("model", [*NAMES, "resnet18.nope"])
def test_other_names_than_timms_own_and_unknown_tags_are_refused(model, timm):
    expected = f"a name from timm.list_models() of timm {timm.__version__}, got {model!r}"
    if model not in NAMES:
        expected = f"a model for 3 channels, got {model!r}: Invalid pretrained tag (nope) for resnet18."
    says = refusal_of(TimmModel(model=model).build, 3, kind=ParamsError)
    assert says == f"pretrain.backbones.timm.model: expected {expected}"


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("model", "dim"), [("resnet10t", 512), ("test_vit", 64), ("mobilenetv3_small_050", 1024), ("test_convnext", 64)]
)
def test_dimensions_are_those_of_the_output(model, dim):
    net, pixels = network(model, 1)
    assert net(pixels).shape == (4, net.dim) == (4, dim)


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("model", "last"), [("resnet10t", -2), ("test_convnext", -2), ("mobilenetv3_small_050", -1), ("test_vit", None)]
)
def test_stages_before_the_features_are_those_of_timm(model, last):
    """Less the one whose mean is the feature itself: the mobile network has a layer between the two."""
    net, pixels = network(model, 3)
    features, means = net.with_intermediate(pixels)
    torch.testing.assert_close(features, net(pixels))
    maps = net.body.forward_intermediates(net.normalised(pixels), intermediates_only=True) if last else []
    wanted = [found.mean(dim=(2, 3)) for found in maps[: len(maps) + last + 1][-2:]] if last else []
    torch.testing.assert_close(means, wanted)


@pytest.mark.usefixtures("timm")
def test_transformers_take_other_sizes_where_they_can_and_refuse_the_rest():
    net, pixels = network("test_vit", 3)  # made for 160 pixels, patches of 16
    assert net(pixels).shape == net(torch.zeros(4, 3, 48, 16)).shape == (4, 64)
    assert network("vit_tiny_patch16_224", 1)[0](torch.zeros(1, 1, 48, 16)).shape == (1, 192)  # not unless asked to
    wanted = "^pretrain.backbones.timm: expected a network for images of {} and 3 channels, got: Input height {}.$"
    with pytest.raises(ParamsError, match=wanted.format("30 x 32", r"\(30\) should be divisible by patch size \(16\)")):
        net(torch.zeros(4, 3, 30, 32))
    with pytest.raises(ParamsError, match=wanted.format("32 x 32", r"\(32\) doesn't match model \(160\)")):
        network("test_vit_relpos", 3)
