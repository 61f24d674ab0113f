"""The command `embed` on real digits: each image once, views, vectors of the user's own, and going on after a stop."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.model_outputs import ModelOutputs
from pipeline.artifacts.shards import Index, Manifest
from pipeline.base.files import sha256
from pipeline.embed.run import embed_split
from pipeline.nn.backbones import SmallResNet
from pipeline.nn.classifier import Classifier, read_backbone
from pipeline.nn.device import Device
from pipeline.nn.embedder import Embedder, look
from pipeline.nn.heads import Levels
from pipeline.shards.reader import load
from stages.embed import main as embed
from stages.keep_round import main as keep_round
from tests.commands import call, refusal


def test_embed_gives_each_image_once_as_the_embedder_beside_it_does(run, caplog):
    with caplog.at_level("INFO"):
        result = call(embed, "embed.batch_size=7", out="data/again")
    assert result.exit_code == 0, result.output
    manifest, index = Manifest.read(run / "ingest/manifest.json"), Index.read(run / "ingest/index.parquet")
    net = Embedder.read(run / "again", read_backbone(run / "pretrain"))
    weights = {view["name"]: view["weight"] for view in net.about["views"]}
    assert weights["backbone"] == weights["pixels"] == 1  # digits are their pixels
    assert f"views: backbone 1.00, pixels 1.00, hog {weights['hog']:.2f}" in caplog.messages
    for split in ("train", "test"):
        table = Embeddings.read(run / "again" / split)
        images = load(manifest, index, split, "")
        assert list(table.keys) == list(images.keys)
        with torch.inference_mode():
            np.testing.assert_allclose(table.vectors, net(images.pixels).numpy(), atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(table.vectors, axis=1), np.ones(len(table.keys)), rtol=1e-5)


def test_stages_of_the_network_are_views_by_its_own_pass(run, caplog, monkeypatch):
    with caplog.at_level("INFO"):
        result = call(embed, "embed.views=[backbone,intermediate,pixels]", out="data/again")
    assert result.exit_code == 0, result.output
    net = Embedder.read(run / "again", read_backbone(run / "pretrain"))
    views = net.about["views"]
    assert [view["name"] for view in views] == ["backbone", "intermediate1", "intermediate2", "pixels"]
    assert 0 < views[1]["weight"] == views[1]["agreement"] < 1
    manifest, index = Manifest.read(run / "ingest/manifest.json"), Index.read(run / "ingest/index.parquet")
    table = Embeddings.read(run / "again/test")
    with torch.inference_mode():
        expected = net(load(manifest, index, "test", "").pixels).numpy()
    np.testing.assert_allclose(table.vectors, expected, atol=1e-5)
    monkeypatch.setattr(SmallResNet, "stages", lambda *_: {})
    with caplog.at_level("INFO"):
        assert call(embed, "embed.views=[backbone,intermediate]", out="data/without").exit_code == 0
    assert "embed.views: intermediate is left out: small_resnet has no maps before its features" in caplog.messages
    assert json.loads((run / "without/embedder.json").read_text())["views"][1:] == []


def test_the_backbone_alone_is_its_centred_vector(run):
    result = call(embed, "embed.views=[backbone]", out="data/again")
    assert result.exit_code == 0, result.output
    manifest, index = Manifest.read(run / "ingest/manifest.json"), Index.read(run / "ingest/index.parquet")
    net = read_backbone(run / "pretrain").eval()
    with torch.inference_mode():
        train, test = (F.normalize(net(load(manifest, index, split, "").pixels)) for split in ("train", "test"))
    for split, x in (("train", train), ("test", test)):
        expected = F.normalize(x - train.mean(dim=0)).numpy()
        np.testing.assert_allclose(Embeddings.read(run / "again" / split).vectors, expected, atol=1e-5)


def test_own_vectors_are_one_more_view(run):
    keys = Index.read(run / "ingest/index.parquet").key
    assert call(embed, out="data/plain").exit_code == 0
    dim = Embeddings.read(run / "plain/train").vectors.shape[1]
    own = {key: row for split in ("train", "test") for key, row in zip(
        Embeddings.read(run / "plain" / split).keys, Embeddings.read(run / "plain" / split).vectors[:, :9], strict=True
    )}  # fmt: skip
    np.save("mine.npy", np.stack([own[key] for key in reversed(keys)]))
    Path("mine.txt").write_text("".join(f"{key}\n" for key in reversed(keys)))
    result = call(embed, "embed.own=mine.npy", out="data/again")
    assert result.exit_code == 0, result.output
    weight = json.loads((run / "again/embedder.json").read_text())["own"]["weight"]
    assert weight > 0
    for split in ("train", "test"):
        plain, found = (Embeddings.read(run / name / split).vectors for name in ("plain", "again"))
        assert found.shape[1] == dim + 9
        np.testing.assert_allclose(F.normalize(torch.from_numpy(found[:, :dim])).numpy(), plain, atol=1e-5)
    assert Embedder.read(run / "again", read_backbone(run / "pretrain")).dim == dim
    Path("mine.txt").write_text("".join(f"{key}\n" for key in ["other", *keys[1:]]))
    says = f"mine.txt: key {keys[0]}: expected a vector for each image, found none of that key"
    assert refusal(call(embed, "embed.own=mine.npy", out="data/again")) == says
    assert refusal(call(embed, "embed.own=no.npy", out="data/again")) == "no.npy: expected a .npy file, found none"


def test_a_table_is_the_same_in_small_blocks(run, monkeypatch):
    for rows in (4096, 7):
        monkeypatch.setattr("pipeline.embed.tables.AT_ONCE", rows)
        assert call(embed, out=f"data/{rows}").exit_code == 0
    for split in ("train", "test"):
        one, other = (Embeddings.read(run / name / split) for name in ("4096", "7"))
        assert list(one.keys) == list(other.keys)
        np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-5)


def test_a_round_of_a_model_on_joined_views_is_kept(run):
    """What is kept are the features that its head stands on."""
    assert call(embed).exit_code == 0
    net = Embedder.read(run / "embed", read_backbone(run / "pretrain"))
    names = Classifier.read(run / "train").head.names
    model = Classifier(net, Levels(net.dim, names), (8, 8)).eval()
    model.write(run / "train", {"labels_sha256": sha256(run / "label/labels.csv")})
    result = call(keep_round)
    assert result.exit_code == 0, result.output
    index = Index.read(run / "ingest/index.parquet")
    outputs = ModelOutputs.read(run / "rounds/outputs", Index.read(run / "ingest/index.parquet", "train").key)
    assert outputs.features.vectors.shape[1] == net.dim
    with torch.inference_mode():
        expected = model(load(Manifest.read(run / "ingest/manifest.json"), index, "train", "").pixels)["label"].numpy()
    found = outputs.features.vectors @ outputs.weight.T + outputs.bias
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_feature_that_is_not_finite_is_refused_by_its_key_and_nothing_is_written(run, monkeypatch, split):
    manifest, index = Manifest.read(run / "ingest/manifest.json"), Index.read(run / "ingest/index.parquet")
    images = load(manifest, index, split, "")

    def spoilt(net, plain, pixels):
        seen = look(net, plain, pixels)
        for row, value in ((5, torch.inf), (9, torch.nan)):
            seen[(pixels == images.pixels[row]).flatten(1).all(dim=1), 3] = value
        return seen

    monkeypatch.setattr("pipeline.embed.run.look", spoilt)
    assert refusal(call(embed, out="data/again")) == (
        f"{manifest.splits[split][0].path}: key {images.keys[5]}: expected finite features, got NaN or infinity for "
        f"2 of {len(images.keys)} images; pretrain again, or take another backbone"
    )
    assert not (run / "again").exists()
    assert not list((run / "scratch").rglob(f"{split}-*.npy"))


@pytest.mark.usefixtures("run")
def test_the_backbone_is_the_first_view():
    for views in ("[pixels, backbone]", "[]", "[backbone, hog, hog]"):
        message = refusal(call(embed, f"embed.views={views}", out="data/again"))
        assert message.startswith("params.yaml: embed.views: expected backbone first, and each view once, got ")


def test_embed_goes_on_after_the_shards_that_are_done(run, tmp_path):
    """A part that is there is taken as it is, and its shard is not read again: here it is gone."""
    manifest, index = Manifest.read(run / "ingest/manifest.json"), Index.read(run / "ingest/index.parquet")
    device = Device(torch.device("cpu"), bf16=False)
    net = read_backbone(run / "pretrain").eval()
    (tmp_path / "parts").mkdir()
    files = embed_split(net, manifest, index, "train", 50, device, tmp_path / "parts")
    first = [file.read_bytes() for file in files]
    path = Path(manifest.splits["train"][0].path)
    path.rename(path.with_suffix(".away"))
    try:
        again = embed_split(net, manifest, index, "train", 50, device, tmp_path / "parts")
    finally:
        path.with_suffix(".away").rename(path)
    assert [file.read_bytes() for file in again] == first
