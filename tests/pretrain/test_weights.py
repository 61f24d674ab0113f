"""Weights that no pretraining of ours made: from files, from torchvision."""

import functools

import numpy as np
import pytest
import safetensors.torch
import torch

from pipeline.artifacts.model import Weights
from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.base.torchvision_import import torchvision
from pipeline.nn.arrays import to_arrays
from pipeline.nn.backbones import BACKBONES, Backbone, ResNet18, fresh
from pipeline.nn.timm_models import TimmModel, create
from pipeline.pretrain.weights import TORCHVISION, fill
from tests.digits import backbone, digits
from tests.refusals import refusal_of

torchvision()  # here, so that no single test waits for its import


def test_a_file_of_ours_one_with_torchvisions_names_and_one_of_bfloat16(tmp_path):
    source = backbone(seed=1)
    with torch.no_grad():
        source.mean += 0.1
    Weights(to_arrays(source), {}).write(tmp_path, "ours")
    body = {**to_arrays(source.body), "fc.weight": np.zeros((3, 16), np.float32)}
    Weights(body, {}).write(tmp_path, "theirs")
    for name, mean in (("ours", source.mean), ("theirs", backbone().mean)):
        net = backbone(seed=2)
        fill(net, "file", str(tmp_path / f"{name}.safetensors"))
        assert torch.equal(net.body[0].weight, source.body[0].weight)
        assert net.mean == mean  # of the images, where the file has none
    halves = {n: t.bfloat16() if t.is_floating_point() else t for n, t in source.body.state_dict().items()}
    safetensors.torch.save_file({n: t.contiguous() for n, t in halves.items()}, tmp_path / "x.safetensors")
    fill(net, "file", str(tmp_path / "x.safetensors"))
    assert torch.equal(net.body[0].weight, source.body[0].weight.bfloat16().float())
    fill(net, "random")
    assert torch.equal(net.body[0].weight, source.body[0].weight.bfloat16().float())


@pytest.mark.parametrize(
    ("name", "options", "head"),
    [
        ("vit_tiny", {"patch_size": 8, "image_size": 16}, "heads.head"),
        ("timm", {"model": "test_vit"}, "head"),
        ("timm", {"model": "test_convnext"}, "head.fc"),  # its body has a head.norm
        ("timm", {"model": "mobilenetv3_small_050"}, "classifier"),
    ],
)
def test_files_of_others_less_their_layer_for_classes(name, options, head, tmp_path):
    if name == "timm":
        torchvision()
        pytest.importorskip("timm")
    pixels = digits()[0][:4].repeat_interleave(4, 2).repeat_interleave(4, 3)
    nets = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        nets.append(fresh(name, BACKBONES[name](**options), pixels).eval())
    source, net = nets
    assert not torch.equal(net(pixels), source(pixels))
    layer = {f"{head}.weight": torch.zeros(9, source.dim), f"{head}.bias": torch.zeros(9)}
    file = tmp_path / "theirs.safetensors"
    tensors = {n: t.contiguous() for n, t in source.body.state_dict().items()}
    safetensors.torch.save_file(tensors | layer, file)
    fill(net, "file", str(file))
    torch.testing.assert_close(net(pixels), source(pixels))
    safetensors.torch.save_file(tensors | {"neck.weight": torch.zeros(3)}, file)
    assert refusal_of(fill, net, "file", str(file)) == f"{file}: neck.weight: expected shape None, got (3,)"


def test_a_file_is_normalised_as_the_weights_of_the_tag(timm, tmp_path):
    """BiT's are for images in [-1, 1]; what is on the hub is a file with timm's names and its own layer for classes."""
    torch.manual_seed(2)
    theirs = timm.create_model("resnetv2_50x1_bit", num_classes=3).eval()
    safetensors.torch.save_model(theirs, tmp_path / "bit.safetensors")
    net, pixels = network("resnetv2_50x1_bit.goog_in21k", 3)
    fill(net, "file", str(tmp_path / "bit.safetensors"))
    theirs.reset_classifier(0)
    torch.testing.assert_close(net(pixels), theirs(pixels / 127.5 - 1), rtol=1e-4, atol=1e-4)
    untagged, _ = network("resnetv2_50x1_bit", 3)
    own = untagged.mean.clone()
    fill(untagged, "file", str(tmp_path / "bit.safetensors"))
    assert torch.equal(untagged.mean, own)


def test_files_refused(tmp_path):
    says = "pretrain.none.file: expected a safetensors file, got '', which is no file"
    assert refusal_of(fill, backbone(), "file", kind=ParamsError) == says
    file = tmp_path / "x.safetensors"
    file.write_bytes(b"spoilt")
    found = refusal_of(fill, backbone(), "file", str(file))
    assert found.startswith(says := f"{file}: expected a safetensors file, got: ")
    assert len(found) > len(says)


def test_torchvisions_weights_and_constants(monkeypatch):
    torch.manual_seed(3)
    theirs = torchvision().models.resnet18()
    monkeypatch.setattr(torchvision().models, "get_model", lambda *_, **__: theirs)
    pixels = digits()[0][:3].expand(-1, 3, -1, -1).contiguous()
    net = fresh("resnet18", ResNet18(small_stem=False), pixels).eval()
    fill(net, "torchvision")
    torch.testing.assert_close(net.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(net.std.flatten(), torch.tensor([0.229, 0.224, 0.225]))
    theirs.fc = torch.nn.Identity()
    torch.testing.assert_close(net(pixels), theirs.eval()((pixels / 255 - net.mean) / net.std))


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_networks_have_our_names_and_shapes(name):
    arch, options = TORCHVISION[name]
    with torch.device("meta"):
        body = BACKBONES[name](**options).build(3)[0].state_dict()
        theirs = getattr(torchvision().models, arch)().state_dict()
    assert {n: t.shape for n, t in body.items()} == {
        n: t.shape for n, t in theirs.items() if not n.startswith(("fc.", "heads."))
    }
    assert torchvision().models.get_model_weights(arch).DEFAULT


RESNETS = "pretrain.none.weights: torchvision's are for resnet18, resnet34, resnet50, resnet101, vit_base"
VIT = "pretrain.backbones.vit_base"


@pytest.mark.parametrize(
    ("name", "options", "channels", "message"),
    [
        ("small_resnet", {"width": 16, "stem_stride": 1}, 3, f"{RESNETS}, got pretrain.backbone small_resnet"),
        ("resnet34", {"small_stem": True}, 3,
         "pretrain.backbones.resnet34.small_stem: expected false for torchvision's weights, got true"),
        ("vit_base", {"patch_size": 8, "image_size": 224}, 3,
         f"{VIT}.patch_size: expected 16 for torchvision's weights, got 8"),
        ("vit_base", {"patch_size": 16, "image_size": 32}, 3,
         f"{VIT}.image_size: expected 224 for torchvision's weights, got 32"),
        ("resnet101", {"small_stem": False}, 1,
         "pretrain.none.weights: torchvision's expect 3 channels (ingest.mode: rgb), got 1"),
    ],
)  # fmt: skip
def test_torchvisions_weights_refused(name, options, channels, message):
    with torch.device("meta"):
        net = Backbone(name, BACKBONES[name](**options), torch.zeros(channels), torch.ones(channels))
    assert refusal_of(fill, net, "torchvision", kind=ParamsError) == message


def test_no_network_is_one_line(monkeypatch):
    def fails(*_, **__):
        raise OSError("no net\nmore")

    monkeypatch.setattr(torchvision().models, "get_model", fails)
    with torch.device("meta"):
        net = Backbone("resnet50", BACKBONES["resnet50"](small_stem=False), torch.zeros(3), torch.ones(3))
    says = "torchvision resnet50: expected its weights to download, got: no net"
    assert refusal_of(fill, net, "torchvision") == says


@pytest.fixture
def timm():
    return pytest.importorskip("timm")


def network(model, channels):
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (4, channels, 32, 32), dtype=torch.uint8)
    return fresh("timm", TimmModel(model=model), pixels).eval(), pixels


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
    fill(net, "timm")
    torch.testing.assert_close(net.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(net.std.flatten(), torch.tensor([0.229, 0.224, 0.225]))
    theirs.reset_classifier(0)
    torch.testing.assert_close(net(pixels), theirs((pixels / 255 - net.mean) / net.std))
    grey, _ = network("test_efficientnet", 1)
    fill(grey, "timm")
    assert grey.mean.item() == pytest.approx((0.485 + 0.456 + 0.406) / 3)
    assert grey.std.item() == pytest.approx((0.229 + 0.224 + 0.225) / 3)


def test_a_grey_image_means_what_it_means_in_three_channels(published):
    published("test_vit")  # its constants are equal for the three, so nothing is rounded
    colour, grey = network("test_vit", 3)[0], network("test_vit", 1)[0]
    fill(colour, "timm")
    fill(grey, "timm")
    pixels = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(grey(pixels), colour(pixels.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


def test_constants_are_imagenets_where_timm_has_none(published, monkeypatch):
    published("test_vit")
    net, _ = network("test_vit", 3)
    nameless = create("test_vit", 3, pretrained=True)
    nameless.pretrained_cfg = {"mean": None}
    monkeypatch.setattr("pipeline.pretrain.weights.create", lambda *_, **__: nameless)
    fill(net, "timm")
    torch.testing.assert_close(net.mean.flatten(), torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(net.std.flatten(), torch.tensor([0.229, 0.224, 0.225]))


def test_weights_of_timm_refused(timm, monkeypatch):
    five, three = network("test_vit", 5)[0], network("test_vit", 3)[0]
    for net, message in (
        (five, "timm's expect 1 or 3 channels, got 5"),
        (backbone(), "timm's are for pretrain.backbone timm, got small_resnet"),
    ):
        assert refusal_of(fill, net, "timm", kind=ParamsError) == f"pretrain.none.weights: {message}"
    for error, kind, start in (
        (OSError("no net\nmore"), ArtifactError, "timm test_vit: expected its weights to download"),
        (RuntimeError("no weights"), ParamsError, "pretrain.none.weights: expected weights of timm test_vit"),
    ):

        def fails(*_, error=error, **__):
            raise error

        monkeypatch.setattr(timm, "create_model", fails)
        assert refusal_of(fill, three, "timm", kind=kind) == f"{start}, got: {str(error).splitlines()[0]}"
