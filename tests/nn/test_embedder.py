"""The embedder: views side by side, what a zero gives, its files, and a classifier that stands on it."""

import json

import pytest
import torch
import torch.nn.functional as F

from pipeline.artifacts.model import Weights
from pipeline.base.errors import ArtifactError
from pipeline.nn.backbones import Backbone, SmallResNet
from pipeline.nn.centre import Centre
from pipeline.nn.classifier import Classifier, build
from pipeline.nn.embedder import Embedder, View, pixels
from pipeline.nn.heads import Levels


def backbone(width=16):
    torch.manual_seed(0)
    options = SmallResNet(width=width, stem_stride=1)
    return Backbone("small_resnet", options, torch.tensor([0.3]), torch.tensor([0.4])).eval()


def embedder(weights=(1.0, 0.5, 0.25), within=()):
    """Around a fresh network, for digits of 8 x 8, with constants of chance; `within` are weights of its stages."""
    net = backbone()
    stages = [(f"intermediate{i}", 16 * i, 10, weight) for i, weight in enumerate(within, 1)]
    first, *plain = zip(("backbone", "pixels", "hog"), (net.dim, 64, 324), (net.dim, 20, 30), weights, strict=True)
    rows = [first, *stages, *plain]
    made = Embedder(net, [View(name, r, d if w else 0, w, 0.2) for name, r, d, w in rows])
    for centre in made.centres.values():
        centre.mean = torch.rand(len(centre.mean)) / 10
        if centre.rotation is not None:
            centre.rotation = torch.linalg.qr(torch.randn(centre.rotation.shape))[0]
    return made.eval()


@pytest.fixture
def images():
    return torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_views_stand_side_by_side_by_the_roots_of_their_weights(images):
    made = embedder()
    with torch.inference_mode():
        found, raw = made(images), made.raw(images)
        torch.testing.assert_close(raw[:, : made.backbone.dim], F.normalize(made.backbone(images), dim=1))
    torch.testing.assert_close(raw[:, made.backbone.dim :][:, :64], images.flatten(1) / 255)
    assert (found.shape[1], raw.shape[1]) == (made.dim, made.backbone.dim + 64 + 324)
    assert made.dim == made.backbone.dim + 20 + 30
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5))
    parts = found.split([made.backbone.dim, 20, 30], dim=1)
    lengths = torch.tensor([1, 0.5, 0.25]).div(1.75).sqrt()
    for part, length in zip(parts, lengths, strict=True):
        torch.testing.assert_close(part.norm(dim=1), length.expand(5))
    expected = F.normalize((raw[:, -324:] - made.centres["hog"].mean) @ made.centres["hog"].rotation, dim=1)
    torch.testing.assert_close(parts[2], expected * lengths[2])


def test_stages_before_the_features_are_views_too_and_one_without_weight_has_no_columns(images):
    made = embedder(within=(0.0, 0.4))
    with torch.inference_mode():
        found, raw = made(images), made.raw(images)
        body = made.backbone.body
        mean = body[:5](made.backbone.normalised(images)).mean(dim=(2, 3))
    first = made.backbone.dim
    torch.testing.assert_close(raw[:, first : first + 32], F.normalize(mean, dim=1))
    assert raw.shape[1] == first + 32 + 64 + 324
    part = found[:, first : first + 10]
    torch.testing.assert_close(part.norm(dim=1), torch.full((5,), (0.4 / 2.15) ** 0.5))
    centre = made.centres["intermediate2"]
    expected = F.normalize((F.normalize(mean, dim=1) - centre.mean) @ centre.rotation, dim=1)
    torch.testing.assert_close(F.normalize(part, dim=1), expected)
    torch.testing.assert_close(raw[:, :first], embedder().raw(images)[:, :first])  # the same features


def test_one_view_is_the_centred_vector_alone(images):
    made = embedder(weights=(1.0, 0.0, 0.0))
    with torch.inference_mode():
        x = F.normalize(made.backbone(images), dim=1)
        torch.testing.assert_close(made(images), F.normalize(x - made.centres["backbone"].mean, dim=1))
    assert list(made.centres) == ["backbone"]
    assert made.dim == made.backbone.dim
    assert [view["dim"] for view in made.about["views"]] == [made.dim, 0, 0]


def test_bytes_and_floats_are_the_same_and_half_precision_is_the_networks_alone(images):
    made = embedder()
    with torch.inference_mode():
        torch.testing.assert_close(made(images), made(images.float() / 255))
        raw = made.raw(images)
        exact = made.project(raw)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(made.project(raw), exact)
            found = made(images)
            torch.testing.assert_close(made.raw(images)[:, -324:], made.raw(images.float() / 255)[:, -324:])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5), rtol=0, atol=1e-6)
    torch.testing.assert_close(found, made(images), rtol=0, atol=0.05)


def test_a_vector_that_is_the_mean_but_for_rounding_is_zeros():
    centre = Centre(3, 3)
    centre.mean = torch.tensor([0.1, 0.2, 0.3])
    x = torch.tensor([[0.1, 0.2, 0.3], [0.1 + 1e-7, 0.2, 0.3], [0.1, 0.2, 0.4]])
    torch.testing.assert_close(centre(x), torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 0, 1]]))


def test_pixels_are_means_of_areas():
    images = torch.rand(2, 3, 64, 48)
    torch.testing.assert_close(pixels(images), images.reshape(2, 3, 16, 4, 16, 3).mean(dim=(3, 5)).flatten(1))
    assert pixels(torch.rand(1, 1, 28, 28)).shape == (1, 256)
    assert pixels(torch.rand(1, 1, 5, 3)).shape == (1, 15)


def test_what_is_written_is_read_without_the_networks_weights(images, tmp_path):
    made = embedder()
    made.write(tmp_path, {"own": {"dim": 3}})
    assert {name.split(".")[0] for name in Weights.read(tmp_path, "embedder").arrays} == {"backbone", "pixels", "hog"}
    assert (tmp_path / "embedder.safetensors").stat().st_size < 50_000
    assert json.loads((tmp_path / "embedder.json").read_text())["own"] == {"dim": 3}
    again = Embedder.read(tmp_path, made.backbone)
    assert again.about == made.about
    torch.testing.assert_close(again(images), made(images))


def test_what_does_not_fit_is_one_line(tmp_path):
    made = embedder()
    with pytest.raises(ArtifactError, match=r"embedder\.json: expected a file, found none"):
        Embedder.read(tmp_path, made.backbone)
    made.write(tmp_path)
    with pytest.raises(ArtifactError, match=r"^.*embedder\.json: expected the views of a backbone .* got those of .*$"):
        Embedder.read(tmp_path, backbone(width=32))
    (tmp_path / "embedder.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"embedder\.json: expected what embed wrote, got: KeyError"):
        Embedder.read(tmp_path, made.backbone)


def test_a_classifier_may_stand_on_it(images, tmp_path):
    made = embedder()
    model = Classifier(made, Levels(made.dim, {"label": ["a", "b"]}), (8, 8)).eval()
    model.write(tmp_path, {})
    again = Classifier.read(tmp_path)
    assert isinstance(again.backbone, Embedder)
    assert (again.channels, again.classes) == (1, ["a", "b"])
    torch.testing.assert_close(again(images)["label"], model(images)["label"])
    assert isinstance(build(again.backbone.about), Embedder)
    assert isinstance(build(made.backbone.about), Backbone)
