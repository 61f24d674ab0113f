"""timm's models as backbones; most of this needs timm."""

import functools
import sys

import pytest
import safetensors.torch
import torch

from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.base.torchvision_import import torchvision
from pipeline.nn.backbones import fresh
from pipeline.nn.timm_models import TimmModel, create
from pipeline.pretrain.weights import WeightsParams, fill

WEIGHTS = WeightsParams(weights="timm", file="")


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
    with pytest.raises(ParamsError) as caught:
        TimmModel(model="resnet18").build(3)
    assert str(caught.value) == (
        "pretrain.backbone: expected timm to be installed (pip install 'few-label-pipeline[timm]'), "
        "got: import of timm halted; None in sys.modules"
    )


@pytest.mark.parametrize("model", ["nonsense", "", "hf-hub:timm/resnet18.a1_in1k", "local-dir:/tmp", "timm/resnet18"])
def test_other_names_than_timms_own_are_refused(model, timm):
    with pytest.raises(ParamsError) as caught:
        TimmModel(model=model).build(3)
    assert str(caught.value) == (
        f"pretrain.backbones.timm.model: expected a name from timm.list_models() of timm {timm.__version__}, "
        f"got {model!r}"
    )


@pytest.mark.usefixtures("timm")
def test_unknown_tags_are_refused():
    with pytest.raises(ParamsError) as caught:
        TimmModel(model="resnet18.nope").build(3)
    assert str(caught.value) == (
        "pretrain.backbones.timm.model: expected a model for 3 channels, got 'resnet18.nope': "
        "Invalid pretrained tag (nope) for resnet18."
    )


@pytest.mark.usefixtures("timm")
@pytest.mark.parametrize(
    ("model", "dim"), [("resnet10t", 512), ("test_vit", 64), ("mobilenetv3_small_050", 1024), ("test_convnext", 64)]
)
def test_dimensions_are_those_of_the_output(model, dim):
    net, pixels = network(model, 1)
    assert net(pixels).shape == (4, net.dim) == (4, dim)


@pytest.mark.usefixtures("timm")
def test_transformers_take_other_sizes_where_they_can_and_refuse_the_rest():
    net, pixels = network("test_vit", 3)  # made for 160 pixels, patches of 16
    assert net(pixels).shape == net(torch.zeros(4, 3, 48, 16)).shape == (4, 64)
    assert network("vit_tiny_patch16_224", 1)[0](torch.zeros(1, 1, 48, 16)).shape == (1, 192)  # not unless asked to
    with pytest.raises(ParamsError) as caught:
        net(torch.zeros(4, 3, 30, 32))
    assert str(caught.value) == (
        "pretrain.backbones.timm: expected a network for images of 30 x 32 and 3 channels, "
        "got: Input height (30) should be divisible by patch size (16)."
    )
    with pytest.raises(ParamsError) as caught:
        network("test_vit_relpos", 3)
    assert str(caught.value) == (
        "pretrain.backbones.timm: expected a network for images of 32 x 32 and 3 channels, "
        "got: Input height (32) doesn't match model (160)."
    )


@pytest.fixture
def published(timm, monkeypatch, tmp_path):
    """timm finds these weights of three channels where it would otherwise download them."""

    def publish(model):
        torch.manual_seed(2)
        net = timm.create_model(model, num_classes=7)
        safetensors.torch.save_model(net, tmp_path / "theirs.safetensors")
        overlay = {"file": str(tmp_path / "theirs.safetensors"), "num_classes": 7}
        monkeypatch.setattr(timm, "create_model", functools.partial(timm.create_model, pretrained_cfg_overlay=overlay))
        return net.eval()

    return publish


def test_weights_and_constants_of_timm(published):
    theirs = published("test_efficientnet")
    net, pixels = network("test_efficientnet", 3)
    fill(net, WEIGHTS)
    torch.testing.assert_close(net.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(net.std.flatten(), torch.tensor([0.229, 0.224, 0.225]))
    theirs.reset_classifier(0)
    torch.testing.assert_close(net(pixels), theirs((pixels / 255 - net.mean) / net.std))


def test_constants_are_imagenets_where_timm_has_none(published, monkeypatch):
    published("test_vit")
    real = create

    def nameless(*args, **kwargs):
        net = real(*args, **kwargs)
        net.pretrained_cfg = {"mean": None}
        return net

    monkeypatch.setattr("pipeline.pretrain.weights.create", nameless)
    net, _ = network("test_vit", 3)
    fill(net, WEIGHTS)
    torch.testing.assert_close(net.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(net.std.flatten(), torch.tensor([0.229, 0.224, 0.225]))


def test_a_grey_image_means_what_it_means_in_three_channels(published):
    published("test_vit")  # its constants are equal for the three, so nothing is rounded
    colour, grey = network("test_vit", 3)[0], network("test_vit", 1)[0]
    fill(colour, WEIGHTS)
    fill(grey, WEIGHTS)
    pixels = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(grey(pixels), colour(pixels.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


def test_grey_constants_are_the_mean_of_three(published):
    published("test_efficientnet")
    net, _ = network("test_efficientnet", 1)
    fill(net, WEIGHTS)
    assert net.mean.item() == pytest.approx((0.485 + 0.456 + 0.406) / 3)
    assert net.std.item() == pytest.approx((0.229 + 0.224 + 0.225) / 3)


def test_weights_of_timm_refused(timm, monkeypatch):
    five, three = network("test_vit", 5)[0], network("test_vit", 3)[0]
    with pytest.raises(ParamsError, match=r"^pretrain.none.weights: timm's expect 1 or 3 channels, got 5$"):
        fill(five, WEIGHTS)
    for error, kind, start in (
        (OSError("no net\nmore"), ArtifactError, "timm test_vit: expected its weights to download"),
        (RuntimeError("no weights"), ParamsError, "pretrain.none.weights: expected weights of timm test_vit"),
    ):

        def fails(*_, error=error, **__):
            raise error

        monkeypatch.setattr(timm, "create_model", fails)
        with pytest.raises(kind) as caught:
            fill(three, WEIGHTS)
        assert str(caught.value) == f"{start}, got: {str(error).splitlines()[0]}"
