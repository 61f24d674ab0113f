"""The command `train` on more images than fit, and under two processes: the files of one process with all in memory."""

import json
from pathlib import Path

import pytest
import torch

from pipeline.artifacts.shards import Index
from pipeline.base.files import read_csv, sha256
from pipeline.nn.classifier import Classifier
from stages.train import main as train
from tests.commands import call, refusal, torchrun

pytestmark = pytest.mark.slow

FILES = ("model.safetensors", "model.json", "curve.csv", "pseudo_labels.csv")


@pytest.mark.parametrize("method", ["paws", "distill"])
def test_images_that_do_not_fit_in_memory_train_the_same_bytes(run, method):
    sets = (f"train.method={method}", "train.distill.teacher=data/train", "train.paws.num_unlabelled=8")
    for name, mb in (("resident", 8000), ("streamed", 0)):
        result = call(train, f"machine.resident_mb={mb}", *sets, out=f"data/{name}/train")
        assert result.exit_code == 0, result.output
        assert json.loads((run / name / "logs/train.json").read_text())["streamed"] is (mb == 0)
    for file in FILES:
        assert sha256(run / "resident/train" / file) == sha256(run / "streamed/train" / file), file


@pytest.mark.parametrize("targets", ["own", "propagated"])
def test_two_processes_are_one_run(run, targets):
    """Both from images decoded for each batch: one writer, one log, and the model and guesses of a single process."""
    sets = ("machine.resident_mb=0", "train.optim.learning_rate=0.001", f"train.targets={targets}")
    assert call(train, *sets, out="data/one/train").exit_code == 0
    result = torchrun("train", *sets, out="data/two/train")
    assert result.returncode == 0, result.stderr
    logs = [json.loads((run / name / "logs/train.json").read_text()) for name in ("one", "two")]
    assert [(log["processes"], log["images"], log["streamed"]) for log in logs] == [
        (1, logs[0]["images"], True),
        (2, logs[0]["images"], True),
    ]
    assert list((run / "two/scratch").glob("train-*")) == []
    one, two = (Classifier.read(run / name / "train").state_dict() for name in ("one", "two"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-4)
    first, second = (
        read_csv(run / name / "train/pseudo_labels.csv", ("key", "prediction", "confidence"))[1]
        for name in ("one", "two")
    )
    assert [row[0] for row in first] == [row[0] for row in second]
    assert sum(a[1] == b[1] for a, b in zip(first, second, strict=True)) >= 0.99 * len(first)
    assert [float(row[2]) for row in second] == pytest.approx([float(row[2]) for row in first], abs=1e-3)


def test_an_image_that_is_spoilt_since_is_one_line(run):
    index = Index.read(run / "ingest/index.parquet", "train")
    path, at = Path(index.shard[7]), int(index.offset[7])
    data = path.read_bytes()
    path.write_bytes(data[:at] + b"x" * 20 + data[at + 20 :])
    try:
        message = refusal(call(train, "machine.resident_mb=0", out="data/out"))
    finally:
        path.write_bytes(data)
    assert message.startswith(f"{path}: expected the image {index.key[7]}, got: ")
    assert not (run / "out").exists()
