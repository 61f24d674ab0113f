"""The commands `train`, `embed` and `select` on real digits: what they write, what they refuse, what they leave."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.artifacts.attributes import Attributes
from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.model import Weights
from pipeline.artifacts.model_outputs import ModelOutputs
from pipeline.artifacts.shards import Index, Manifest
from pipeline.artifacts.skipped import Skipped, write_missing
from pipeline.base.files import read_csv, sha256
from pipeline.nn.backbones import BACKBONES
from pipeline.nn.classifier import Classifier, read_backbone
from pipeline.pretrain.methods import METHODS
from pipeline.shards.reader import load
from pipeline.train.methods import METHODS as SEMISUP
from stages.embed import main as embed
from stages.keep_round import main as keep_round
from stages.pretrain import main as pretrain
from stages.select import main as select
from stages.train import main as train
from tests.commands import call, refusal


def test_train_writes_a_model_and_a_guess_for_every_image_without_label(run):
    result = call(train, out="data/out")
    assert result.exit_code == 0, result.output
    labels = Labels.read(run / "label/labels.csv").rows
    keys = Index.read(run / "ingest/index.parquet", "train").key
    body = read_csv(run / "out/pseudo_labels.csv", ("key", "prediction", "confidence"))[1]
    assert [row[0] for row in body] == sorted(set(keys) - set(labels))
    model = Classifier.read(run / "out")
    images = load(Manifest.read(run / "ingest/manifest.json"), Index.read(run / "ingest/index.parquet"), "train", "")
    sure, guess = model.probabilities(images.pixels[images.keys.index(body[5][0])][None], 1)["label"].max(dim=1)
    assert body[5][1] == model.classes[guess]
    assert float(body[5][2]) == pytest.approx(sure.item(), rel=1e-4)
    assert not list(run.glob("scratch/train-*"))
    log = json.loads((run / "logs/train.json").read_text())
    assert log["images"] == 4 * 4 * 15
    assert {"seconds", "images_per_second", "precision", "threads"} <= set(log)


@pytest.mark.parametrize("method", sorted(SEMISUP))
@pytest.mark.parametrize("start", ["pretrained", "scratch"])
def test_one_label_in_a_class_and_none_in_others(run, method, start, caplog):
    rows = dict(list(Labels.read(run / "label/labels.csv").rows.items()))
    names = {row[0]: key for key, row in rows.items()}
    two = sorted(names)[:2]
    Labels(["label"], {names[name]: [name] for name in two}).write(run / "label/labels.csv")
    with caplog.at_level("INFO"):
        few = ("train.distill.teacher=data/train", "train.dynamic.base=.")
        few += tuple(f"train.{name}.num_unlabelled=8" for name in ("paws", "nncsl", "gcd", "promptcal"))
        result = call(train, f"train.method={method}", f"train.start={start}", *few, out="data/out")
    if start == "scratch" and method in ("linear", "finetune", "bit"):
        why = f"expected pretrained for {method}, whose batch norm stays as pretrained, got scratch"
        assert refusal(result) == f"train.start: {why}"
        return
    assert result.exit_code == 0, result.output
    unreached = json.loads((run / "out/model.json").read_text())["unreached"]
    classes = Classifier.read(run / "out").classes
    if method in ("gcd", "promptcal"):  # which names what it finds, as it cannot know which of the eight it is
        assert sorted(classes[:2]) == two
        assert classes[2:] == [f"new {i}" for i in range(1, len(classes) - 1)]
    else:
        assert sorted([*unreached, *two]) == sorted(classes)
    assert f"no label for 8 classes: {', '.join(unreached)}" in caplog.messages


def test_images_labelled_at_a_coarse_level_alone(run, caplog):
    """HierMatch has a head for each level; to all other methods these images are unlabelled."""
    rows = Labels.read(run / "label/labels.csv").rows
    table = {
        key: [names[0] if i < 20 else "", "odd" if len(names[0]) % 2 else "even"]
        for i, (key, names) in enumerate(rows.items())
    }
    Labels(["label", "coarse"], table).write(run / "label/labels.csv")
    for method in ("hiermatch", "fixmatch"):
        caplog.clear()
        with caplog.at_level("INFO"):
            result = call(train, f"train.method={method}", out=f"data/{method}")
        assert result.exit_code == 0, result.output
        dropped = f"{len(table) - 20} images have a coarse label only, which {method} does not use"
        assert (dropped in caplog.messages) is (method == "fixmatch")
        guessed = {row[0] for row in read_csv(run / method / "pseudo_labels.csv", ("key", "prediction"))[1]}
        assert guessed & set(rows) == {key for key, names in table.items() if not names[0]}
    heads = {name: Classifier.read(run / name).head.names for name in ("hiermatch", "fixmatch")}
    assert {name: list(head) for name, head in heads.items()} == {
        "hiermatch": ["label", "coarse"],
        "fixmatch": ["label"],
    }
    assert heads["hiermatch"]["coarse"] == ["even", "odd"]


@pytest.mark.usefixtures("run")
def test_a_teacher_that_is_not_there_is_named():
    message = refusal(call(train, "train.method=distill", "train.distill.teacher=data/none"))
    assert message == (
        "data/none: expected a teacher, the model.json and model.safetensors of an earlier train, found none; "
        "copy them there before train writes others"
    )


def test_from_scratch_is_not_from_the_pretrained_weights(run):
    for start in ("pretrained", "scratch"):
        sets = (f"train.start={start}", "train.optim.learning_rate=1e-9", "train.method=supervised")
        assert call(train, *sets, out=f"data/from-{start}").exit_code == 0
    body = read_backbone(run / "pretrain").body[0].weight
    torch.testing.assert_close(Classifier.read(run / "from-pretrained").backbone.body[0].weight, body)
    assert not torch.allclose(Classifier.read(run / "from-scratch").backbone.body[0].weight, body)


def test_a_classifier_on_a_hidden_layer_of_the_head(run):
    """With a rate of nearly 0 it sees what pretrain's head made of the features; MoCo's has one such layer."""
    sets = ("train.method=finetune", "train.finetune.head_layer=1", "train.finetune.head_share=0")
    said = "train.finetune.head_layer: expected at most {}, the hidden layers of the head that pretrain left {}, got {}"
    without = "(none, rotation, jigsaw, context, split_brain and those that mask leave no head)"
    assert refusal(call(train, *sets)) == said.format(0, without, 1)
    assert call(pretrain).exit_code == 0
    result = call(train, *sets, "train.optim.learning_rate=1e-9", out="data/still")
    assert result.exit_code == 0, result.output
    model, x = Classifier.read(run / "still"), torch.rand(4, 1, 8, 8)
    head = Weights.read(run / "pretrain", "head")
    weight, bias = (torch.from_numpy(head.arrays[f"0.{name}"]) for name in ("weight", "bias"))
    expected = (read_backbone(run / "pretrain").eval()(x) @ weight.T + bias).relu()
    torch.testing.assert_close(model.backbone(x), expected, rtol=1e-4, atol=1e-5)
    assert model.backbone.dim == len(weight)
    result = call(train, *sets, "train.optim.learning_rate=0.001", out="data/moved")
    assert result.exit_code == 0, result.output
    moved = Classifier.read(run / "moved").backbone.state_dict()
    assert not torch.equal(moved["hidden.0.weight"], weight)
    assert refusal(call(train, *sets, "train.finetune.head_layer=2")) == said.format(1, without, 2)


def test_a_loss_that_is_not_finite_ends_in_one_line_and_leaves_nothing(run):
    before = sha256(run / "train/model.safetensors")
    message = refusal(call(train, "train.optim.learning_rate=1e30", "train.method=supervised"))
    assert message.startswith("step 2 of 4: expected a finite loss, got nan; a lower")
    assert sha256(run / "train/model.safetensors") == before
    shutil.rmtree(run / "pretrain")
    message = refusal(call(pretrain, "pretrain.optim.learning_rate=1e30", "pretrain.optim.warmup=0"))
    assert message.startswith("step 2 of 4: expected a finite loss, got nan; a lower")
    assert not (run / "pretrain").exists()


@pytest.mark.usefixtures("run")
def test_want_of_memory_is_one_line():
    message = refusal(call(pretrain, "pretrain.moco.hidden_dim=100000000000"))
    assert message.startswith("out of memory: ")
    assert message.endswith("; expected less: a smaller batch_size, ingest.size or network")


def test_labels_that_do_not_fit(run):
    key = Index.read(run / "ingest/index.parquet", "test").key[0]
    Labels(["label"], {key: ["one"]}).write(run / "label/labels.csv")
    assert refusal(call(train)) == f"labels.csv: key {key}: expected a training image, found none of that key"
    key = Index.read(run / "ingest/index.parquet", "train").key[0]
    Labels(["label"], {key: [""]}).write(run / "label/labels.csv")
    assert refusal(call(train)) == "labels.csv: expected at least one label, got none"


@pytest.mark.usefixtures("run")
def test_methods_that_do_not_exist():
    assert refusal(call(train, "train.method=fixmach")) == (
        f"params.yaml: train.method: expected one of {', '.join(sorted([*SEMISUP, 'propagate']))}, got 'fixmach'"
        "; is it fixmatch?"
    )
    assert refusal(call(pretrain, "pretrain.method=mocco")) == (
        f"params.yaml: pretrain.method: expected one of {', '.join(sorted([*METHODS, 'none']))}, got 'mocco'"
        "; is it moco?"
    )
    assert refusal(call(pretrain, "pretrain.backbone=vgg")) == (
        f"params.yaml: pretrain.backbone: expected one of {', '.join(sorted(BACKBONES))}, got 'vgg'"
    )


def test_a_changed_shard_is_named(run):
    manifest = Manifest.read(run / "ingest/manifest.json")
    shard = manifest.splits["train"][0]
    data = bytearray(Path(shard.path).read_bytes())
    data[1000] ^= 1
    Path(shard.path).write_bytes(data)
    try:
        for command in (pretrain, embed, train):
            assert refusal(call(command)) == (
                f"{shard.path}: expected the shard of {shard.bytes} bytes that was ingested, found other bytes; "
                "`dvc repro -f ingest` makes it anew"
            )
    finally:
        data[1000] ^= 1
        Path(shard.path).write_bytes(data)


def test_a_missing_backbone_is_named(run):
    (run / "pretrain/backbone.safetensors").unlink()
    message = "data/pretrain/backbone.safetensors: expected a safetensors file, found none; go to the folder of a run"
    assert refusal(call(embed)) == message
    assert refusal(call(train)) == message


def test_picks_are_the_same_where_the_vectors_stay_on_disk(run):
    """With what ingest leaves beside them where there are neither groups nor costs."""
    keys = Embeddings.read(run / "embed/train").keys
    (run / "rounds").mkdir()
    Attributes(keys, [""] * len(keys), None).write(run / "ingest/attributes.parquet")
    for mb, out in ((4000, "data/a/select"), (0, "data/b/select")):
        result = call(select, f"machine.vectors_mb={mb}", out=out)
        assert result.exit_code == 0, result.output
    assert (run / "a/select/picks.csv").read_bytes() == (run / "b/select/picks.csv").read_bytes()


def test_a_round_of_coarse_labels_is_kept(run):
    """After HierMatch: the finest layer is kept as one on all features, zero on the coarser slice.

    Three picks have no label: they are left out, and the two of which a person said why are not picked again.
    """
    rows = Labels.read(run / "label/labels.csv").rows
    skipped, unusable, empty, *keys = rows
    write_missing(run / "label/missing.csv", {skipped: "skipped", unusable: "not usable", empty: "left empty"})
    table = {
        key: [rows[key][0] if i % 2 else "", "odd" if len(rows[key][0]) % 2 else "even"] for i, key in enumerate(keys)
    }
    Labels(["label", "coarse"], table).write(run / "label/labels.csv")
    assert call(train, "train.method=hiermatch").exit_code == 0
    result = call(keep_round)
    assert result.exit_code == 0, result.output
    assert Labels.read(run / "rounds/00/labels.csv").rows == {key: list(names) for key, names in table.items()}
    assert Skipped.read(run / "rounds") == Skipped([skipped, unusable], ["skipped", "not usable"], [0, 0], [0, 0])
    model = Classifier.read(run / "train")
    outputs = ModelOutputs.read(run / "rounds/outputs", Index.read(run / "ingest/index.parquet", "train").key)
    with torch.inference_mode():
        images = load(
            Manifest.read(run / "ingest/manifest.json"), Index.read(run / "ingest/index.parquet"), "train", ""
        )
        expected = model(images.pixels)["label"].numpy()
    found = outputs.features.vectors @ outputs.weight.T + outputs.bias
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
