"""The command `pretrain` in two processes of torchrun, on real digits."""

import json

import torch
from filelock import FileLock

from pipeline.nn.classifier import read_backbone
from stages.pretrain import main as pretrain
from tests.commands import call, torchrun


def test_a_refusal_to_one_process_is_one_line_of_each(run):
    (run / "two/scratch").mkdir(parents=True)
    with FileLock(run / "two/scratch/pretrain.lock"):
        result = torchrun("pretrain", "pretrain.method=simclr", out="data/two/pretrain")
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if "Error: " in line and "elastic" not in line]
    assert all("expected no other pretrain to run here, found one that holds the lock" in line for line in lines[:2])
    assert "Traceback" not in result.stderr.split("torch/distributed/elastic")[0]
    assert not (run / "two/pretrain").exists()


def test_two_processes_are_one_run(run):
    """Streamed: one writer, one log, and the weights of a single process after two steps; rounding grows with each."""
    sets = ("machine.resident_mb=0", "pretrain.method=simclr", "pretrain.optim.learning_rate=0.01", "pretrain.steps=2")
    assert call(pretrain, *sets, out="data/one").exit_code == 0
    result = torchrun("pretrain", *sets, out="data/two/pretrain")
    assert result.returncode == 0, result.stderr
    log = json.loads((run / "two/logs/pretrain.json").read_text())
    assert (log["processes"], log["streamed"]) == (2, True)
    assert list((run / "two/scratch").glob("pretrain-*")) == []
    one, two = (read_backbone(run / name).state_dict() for name in ("one", "two/pretrain"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-4)
