"""Backbones: shapes, sizes, normalisation that travels, and files that do not fit."""

import numpy as np
import pytest
import torch

from pipeline.artifacts import Weights
from pipeline.errors import ArtifactError, ParamsError
from pipeline.nn.backbones import BACKBONES, ResNet18, SmallResNet, WideResNet28x2, fresh
from pipeline.nn.classifier import Classifier, from_arrays, read_backbone, to_arrays, untrained
from pipeline.selfsup.none import NoneParams, fill
from tests.digits import backbone, digits

OPTIONS = {
    "small_resnet": {"width": 16, "stem_stride": 2},
    "wide_resnet28_2": {},
    "resnet18": {"small_stem": True},
    "resnet50": {"small_stem": False},
}


@pytest.mark.parametrize("name", sorted(BACKBONES))
@pytest.mark.parametrize("channels", [1, 3])
def test_features_have_the_dimension_it_says(name, channels):
    pixels = torch.randint(0, 256, (4, channels, 16, 16), dtype=torch.uint8)
    net = fresh(name, BACKBONES[name](**OPTIONS[name]), pixels)
    out = net(pixels)
    assert out.shape == (4, net.dim)
    torch.testing.assert_close(out, net(pixels.float() / 255))


def test_sizes():
    def count(block, channels):
        return sum(p.numel() for p in block.build(channels)[0].parameters())

    assert count(SmallResNet(width=32, stem_stride=1), 1) == 306_784
    assert count(WideResNet28x2(), 3) == 1_466_320  # 1.5 million in USB, without its classification layer
    assert count(ResNet18(small_stem=False), 3) == 11_176_512  # torchvision's 11,689,512 less its 513,000


def test_normalisation_is_of_the_images_and_travels_with_the_weights():
    pixels = digits()[0]
    net = backbone()
    assert net.mean.item() == pytest.approx((pixels.double() / 255).mean().item(), rel=1e-6)
    assert net.std.item() == pytest.approx((pixels.double() / 255).std(correction=0).item(), rel=1e-6)
    assert untrained(net).mean == net.mean
    assert {"mean", "std"} < set(to_arrays(net))
    assert fresh("small_resnet", SmallResNet(width=16, stem_stride=1), pixels * 0).std.item() == pytest.approx(1 / 255)


def test_classifier_round_trip(tmp_path):
    net = Classifier(backbone(), ["a", "b"], (8, 8)).eval()
    net.write(tmp_path, {"method": "x"})
    again = Classifier.read(tmp_path)
    pixels = digits()[0][:7]
    torch.testing.assert_close(again.probabilities(pixels, 3), net.probabilities(pixels, 7))
    assert (again.classes, again.size, again.channels) == (["a", "b"], (8, 8), 1)
    assert again.probabilities(pixels[:0], 3).shape == (0, 2)


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


def test_none_fills_from_a_file_of_ours_and_from_torchvisions_names(tmp_path):
    torch.manual_seed(1)
    source = backbone(seed=1)
    Weights(to_arrays(source), {}).write(tmp_path, "ours")
    body = {**to_arrays(source.body), "fc.weight": np.zeros((3, 16), np.float32)}
    Weights(body, {}).write(tmp_path, "theirs")
    for name in ("ours", "theirs"):
        net = backbone(seed=2)
        fill(net, NoneParams(weights="file", file=str(tmp_path / f"{name}.safetensors")))
        assert torch.equal(net.body[0].weight, source.body[0].weight)
    untouched = backbone(seed=2)
    before = untouched.body[0].weight.clone()
    fill(untouched, NoneParams(weights="random", file=""))
    assert torch.equal(untouched.body[0].weight, before)


def test_none_without_its_file_is_refused():
    with pytest.raises(
        ParamsError, match=r"^pretrain.none.file: expected a safetensors file, got '', which is no file$"
    ):
        fill(backbone(), NoneParams(weights="file", file=""))


def test_torchvision_weights_need_a_torchvision_network():
    params = NoneParams(weights="torchvision", file="")
    with pytest.raises(ParamsError) as caught:
        fill(backbone(), params)
    assert str(caught.value) == (
        "pretrain.none.weights: expected a torchvision backbone, got pretrain.backbone small_resnet"
    )
    with pytest.raises(ParamsError, match=r"expect 3 channels .* got 1 and true$"):
        fill(fresh("resnet18", ResNet18(small_stem=True), digits()[0]), params)
