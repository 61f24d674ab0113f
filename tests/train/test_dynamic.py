"""Dynamic distillation against its formula, its parts by themselves, its teacher, and which runs it can learn from."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipeline.artifacts.shards import Index, Manifest, Shard
from pipeline.base.errors import ArtifactError
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import Levels
from pipeline.nn.mlp import Encoder
from pipeline.train.base_run import within
from pipeline.train.methods.dynamic import distillation, rise
from stages.train import main as train
from tests.commands import call, refusal
from tests.digits import backbone, base_run, chosen, semi, task
from tests.oracles import dynamic as oracle
from tests.train.helpers import changed, logits, state_of, trained


def test_the_distillation_is_the_papers_and_no_gradient_reaches_the_teacher():
    student, teacher = (logits(seed, 6, 4).double().requires_grad_() for seed in range(2))
    expected = oracle.distillation(student.tolist(), teacher.tolist(), 0.1)
    assert distillation(student, teacher, 0.1).item() == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(lambda x: distillation(x, teacher, 0.1), student)
    assert torch.autograd.grad(distillation(student, teacher, 0.1), teacher, allow_unused=True) == (None,)


def test_its_weight_rises_along_a_cosine_to_one():
    assert [rise(t) for t in (0, 0.25, 0.5, 1)] == pytest.approx([0, 0.75 * (1 - math.sqrt(0.5)), 0.75, 1])
    assert rise(0.6) < rise(0.61) == 1


def test_the_methods_loss_is_the_papers():
    """In eval mode, so that passes do not matter, at half of the steps; the teacher is another network by now."""
    method, feed = semi("dynamic")
    with torch.no_grad():
        for p in method.teacher.parameters():
            p += 0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    method.eval().progress = 0.5
    batch, student = feed(0), Encoder(method.net.backbone, method.base)
    weak, strong = batch.views
    with torch.no_grad():
        theirs, own, taught = student(batch.base)[1], student(strong)[1], method.teacher(weak)[1]
        labelled = F.cross_entropy(method.net(batch.labelled)["label"], batch.label[:, 0]).item()
    base = oracle.cross_entropy(theirs.tolist(), batch.base_label.tolist())
    unlabelled = oracle.distillation(own.tolist(), taught.tolist(), 0.1)
    step = method.loss(batch)
    assert step.logs["base"].item() == pytest.approx(base, rel=1e-4)
    assert step.logs["unlabelled"].item() == pytest.approx(unlabelled, rel=1e-4)
    assert step.loss.item() == pytest.approx(labelled + base + 0.75 * unlabelled, rel=1e-4)


def test_own_labels_move_the_linear_layer_alone():
    method, feed = semi("dynamic")
    learns = {name: p for name, p in method.named_parameters() if p.requires_grad}
    grads = torch.autograd.grad(method.loss(feed(0)).logs["labelled"], [*learns.values()], allow_unused=True)
    moved = {name for name, grad in zip(learns, grads, strict=True) if grad is not None}
    assert moved == {"net.head.layers.0.weight", "net.head.layers.0.bias"}


def test_it_begins_as_the_other_runs_model_and_a_teacher_of_momentum_one_stays_it(tmp_path):
    other, teachers = base_run(1).model, []
    for momentum in (1.0, 0.5):
        method, feed = semi("dynamic", teacher_momentum=momentum)
        before = state_of(method)
        for net in (method.net, method.ema_net, method.teacher):
            assert changed(net.backbone, state_of(other.backbone)) == set()
        for layer in (method.base, method.teacher.head):
            assert changed(layer, state_of(other.head.layer(0))) == set()
        trained(method, feed, tmp_path / str(momentum), 3)
        teachers.append({name for name in changed(method, before) if "teacher" in name and "running" not in name})
    assert teachers[0] == set()
    assert "teacher.head.weight" in teachers[1]
    assert any(name.startswith("teacher.backbone") for name in teachers[1])


def test_a_moving_teacher_is_the_average_of_the_weights():
    method, feed = semi("dynamic", teacher_momentum=0.75)
    before = state_of(method.teacher)
    method.train().loss(feed(0))
    with torch.no_grad():
        method.base.weight += 1.0
        next(method.net.backbone.parameters()).add_(1.0)
    method.after_step(1, 10)
    torch.testing.assert_close(method.teacher.head.weight, before["head.weight"] + 0.25)
    first = next(iter(dict(method.teacher.backbone.named_parameters())))
    torch.testing.assert_close(method.teacher.state_dict()[f"backbone.{first}"], before[f"backbone.{first}"] + 0.25)


def test_batches_of_the_other_domain_are_its_labelled_images():
    batch = semi("dynamic", ratio=3)[1](2)
    assert (len(batch.labelled), len(batch.base), *map(len, batch.views)) == (8, 24, 24, 24)
    assert batch.num_images == 80
    assert batch.base.mean() > 0.6 > 0.4 > batch.labelled.mean()  # they are inverted
    assert set(batch.base_label.tolist()) == {*range(5)}


def test_local_shards_are_found_from_here():
    shards = [Shard("data/shards/a.tar", 1, "", 1), Shard("https://h/b.tar", 1, "0" * 64, 1), Shard("/c.tar", 1, "", 1)]
    nothing = np.zeros(3, np.int64)
    index = Index(["k0", "k1", "k2"], ["train"] * 3, [shard.path for shard in shards], nothing, nothing)
    moved, found = within(Manifest("folder", 1, (8, 8), {"train": shards}, []), index, Path("../other"))
    paths = ["../other/data/shards/a.tar", "https://h/b.tar", "/c.tar"]
    assert [shard.path for shard in moved.splits["train"]] == [*found.shard] == paths


@pytest.mark.usefixtures("run")
def test_the_images_of_a_run_in_another_folder_are_learnt():
    """Its manifest and its index name shards by paths that begin in its own folder, as `ingest` writes them."""
    shutil.copytree("data", "other/data")
    ingest = Path("other/data/ingest")
    manifest, index = Manifest.read(ingest / "manifest.json"), Index.read(ingest / "index.parquet")
    names = {path: f"data/{Path(path).name}" for path in {*index.shard}}
    for path, name in names.items():
        shutil.copy(path, Path("other") / name)
    splits = {k: [replace(shard, path=names[shard.path]) for shard in v] for k, v in manifest.splits.items()}
    replace(manifest, splits=splits).write(ingest / "manifest.json")
    replace(index, shard=[names[path] for path in index.shard]).write(ingest / "index.parquet")
    result = call(train, "train.method=dynamic", "train.dynamic.base=other", out="data/out")
    assert result.exit_code == 0, result.output


def test_a_model_of_another_network_is_refused():
    of = replace(task(method="dynamic"), base=replace(base_run(1), model=base_run(3).model))
    with pytest.raises(ArtifactError) as caught:
        chosen("dynamic").build(backbone(), of)
    expected = (
        "elsewhere: expected the network and image size of this training, backbone.body.0.weight: [16, 1, 3, 3], got"
    )
    assert str(caught.value) == f"{expected} [16, 3, 3, 3]"


@pytest.mark.usefixtures("run")
def test_runs_that_it_cannot_learn_from_are_refused_in_one_line():
    def said(folder):
        return refusal(call(train, "train.method=dynamic", f"train.dynamic.base={folder}", out="data/out"))

    expected = "expected the folder of another run, with labelled images and the model that train made of them, found"
    assert said("") == f"train.dynamic.base: {expected} no folder, as it is empty"
    assert said("none") == f"train.dynamic.base: {expected} no none/data/train/model.json"
    shutil.copytree("data", "other/data")
    manifest = Path("other/data/ingest/manifest.json")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "size": [9, 9]}))
    assert said("other") == "other: expected images of 1 x 8 x 8 as here (ingest.mode, ingest.size), got 1 x 9 x 9"
    shutil.copy("data/ingest/manifest.json", manifest)
    Classifier(backbone(), Levels(64, {"label": ["1", "2"]}), (8, 8)).write(Path("other/data/train"), {})
    assert said("other") == "other: expected a model of the 10 classes that its labels have, got one of 2"
