"""The command `pretrain` on real digits: what its backbones are, what it warns of and refuses."""

import json
from dataclasses import replace

import pytest
import torch

from pipeline.artifacts.shards import Index, Manifest
from pipeline.nn.classifier import read_backbone
from pipeline.pretrain.methods import METHODS
from pipeline.shards.reader import load
from stages.pretrain import main as pretrain
from tests.commands import call, refusal
from tests.method_values import MASKED


def test_pretrain_none_is_the_fresh_network(run):
    result = call(pretrain, "pretrain.method=none", "pretrain.none.weights=random", out="data/none")
    assert result.exit_code == 0, result.output
    assert (run / "none/curve.csv").read_text() == "step,loss,learning_rate\n"
    assert read_backbone(run / "none").dim == 128


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_starts_from_weights_that_are_there(run, method):
    """Those of a backbone of another seed: they stay what they are at a small rate, and as far as they are frozen."""
    body = {**dict.fromkeys(MASKED, ("vit_tiny", "conv_proj")), "split_brain": ("split_resnet", "trunks.lightness.0")}
    net, layer = body.get(method, ("small_resnet", "0"))
    body, layer = (f"pretrain.backbone={net}",), f"{layer}.weight"
    manifest = Manifest.read(run / "ingest/manifest.json")
    colour = ("pretrain.view.stain=0.5",) if method == "split_brain" else ()  # the digits have none
    replace(manifest, channels=3 if method == "split_brain" else 1).write(run / "ingest/manifest.json")
    assert call(pretrain, "seed=7", *body, out="data/other").exit_code == 0
    file, still = run / "other/backbone.safetensors", "pretrain.optim.learning_rate=1e-9"
    weights = ("pretrain.start=weights", "pretrain.none.weights=file", f"pretrain.none.file={file}")
    cases = {"random": (still,), "weights": (*weights, still), "partly": (*weights, "pretrain.none.frozen=0.4")}
    for name, sets in cases.items():
        teacher = "pretrain.simreg.teacher=data/other"
        result = call(pretrain, f"pretrain.method={method}", teacher, *body, *colour, *sets, out=f"data/{name}")
        assert result.exit_code == 0, result.output
    nets = {name: read_backbone(run / name) for name in ("other", *cases)}
    bodies = {name: dict(net.body.named_parameters()) for name, net in nets.items()}
    torch.testing.assert_close(bodies["weights"], bodies["other"])
    assert not torch.allclose(bodies["random"][layer], bodies["other"][layer], atol=1e-3)
    kept = [key for key, weight in bodies["partly"].items() if torch.equal(weight, bodies["other"][key])]
    assert 0 < len(kept) < len(bodies["other"])
    assert kept == list(bodies["other"])[: len(kept)]


@pytest.mark.parametrize("method", ["moco", "swav"])
def test_images_that_do_not_fit_in_memory_are_read_for_each_batch(run, method):
    sets = (f"pretrain.method={method}", f"pretrain.local.count={2 if method == 'swav' else 0}")
    for name, mb in (("resident", 8000), ("streamed", 0)):
        result = call(pretrain, f"machine.resident_mb={mb}", *sets, out=f"data/{name}/pretrain")
        assert result.exit_code == 0, result.output
        assert json.loads((run / name / "logs/pretrain.json").read_text())["streamed"] is (mb == 0)
    resident, streamed = (read_backbone(run / name / "pretrain").state_dict() for name in ("resident", "streamed"))
    torch.testing.assert_close(resident["mean"], streamed["mean"])  # few images: all are in the sample
    # Crops are cut before they are rounded to bytes, or after: nearly the same images, nearly the same weights.
    name = "body.0.weight"
    assert not torch.equal(resident[name], streamed[name])
    torch.testing.assert_close(resident[name], streamed[name], rtol=0, atol=0.02)


@pytest.mark.parametrize("mb", [0, 8000])
def test_batch_norm_knows_plain_images_where_a_method_saw_turned_ones(run, mb):
    """The statistics of the first layer are those of all 400 images, upright and whole; moco's are its views'."""
    manifest, index = Manifest.read(run / "ingest/manifest.json"), Index.read(run / "ingest/index.parquet", "train")
    pixels = load(manifest, index, "train", "pretrain").pixels
    for method, renewed in (("rotation", True), ("moco", False)):
        result = call(pretrain, f"pretrain.method={method}", f"machine.resident_mb={mb}", out=f"data/{method}")
        assert result.exit_code == 0, result.output
        net = read_backbone(run / method)
        mean = net.body[0]((pixels / 255 - net.mean) / net.std).mean((0, 2, 3))
        assert torch.allclose(net.body[1].running_mean, mean, rtol=1e-3, atol=1e-4) is renewed


def test_a_method_without_collapse_says_nothing_and_one_with_it_warns(run, caplog):
    with caplog.at_level("WARNING"):
        assert call(pretrain, out="data/fine").exit_code == 0
        assert caplog.messages == []
        # Weights decay to nothing, so that the bias of a linear head is all that is left of a projection.
        sets = ("pretrain.moco.hidden_dim=0", "pretrain.steps=40", "pretrain.optim.weight_decay=9")
        assert call(pretrain, *sets, out="data/collapsed").exit_code == 0
    assert len(caplog.messages) == 1
    assert "representations collapse: feature_std 0.0" in caplog.messages[0]
    assert "feature_std" in (run / "collapsed/curve.csv").read_text().splitlines()[0]


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("key", "value", "expected", "came"),
    [
        ("second", "{blur: 0.1}", "second: expected values of view without blur", "{'blur': 0.1}"),
        ("second", "{blur_prob: 2}", "second: expected blur_prob less than or equal to 1", "{'blur_prob': 2"),
        ("second", "{crop_max: 0.1}", "second: expected crop_min of at most crop_max, 0.1", "{'crop_max': 0.1}"),
        ("optim.final_learning_rate", "9", "expected 0, or with schedule cosine at most learning_rate", "9"),
        ("optim.bias_scale", "1e300", "optim.bias_scale: expected less than or equal to 1000000", "1e+300"),
        ("batch_size", "100000000000000000000", "batch_size: expected ", "1"),
        ("batch_size", "401", "batch_size: expected at most 400, the training images", "401"),
    ],
)
def test_values_that_make_no_sense_are_named(key, value, expected, came):
    message = refusal(call(pretrain, f"pretrain.{key}={value}"))
    assert expected in message
    assert f"got {came}" in message
    assert len(message) < 160


@pytest.mark.usefixtures("run")
def test_local_crops_of_no_pixels_are_refused_whatever_reads_them():
    for mb in (0, 8000):
        sets = ("pretrain.method=swav", "pretrain.local.count=2", "pretrain.local.side=0.01")
        assert refusal(call(pretrain, *sets, f"machine.resident_mb={mb}")) == (
            "pretrain.local.side: expected at least 0.250 for images of 8 x 8, 2 pixels, got 0.01"
        )
