"""The command `pretrain` in two processes of torchrun, on real digits."""

import json
import os
import subprocess
import sys

import torch
from filelock import FileLock

from pipeline.nn.classifier import read_backbone
from stages.pretrain import main as pretrain
from tests.commands import FEW, call
from tests.imports import ROOT


def torchrun(*sets, out):
    """The command under two processes; returns what they said."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    options = [part for item in (*FEW, *sets) for part in ("--set", item)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, "-m", "stages.pretrain", *options, "--out", out],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_refusal_to_one_process_is_one_line_of_each(run):
    (run / "two/scratch").mkdir(parents=True)
    with FileLock(run / "two/scratch/pretrain.lock"):
        result = torchrun("pretrain.method=simclr", out="data/two/pretrain")
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if "Error: " in line and "elastic" not in line]
    assert all("expected no other pretrain to run here, found one that holds the lock" in line for line in lines[:2])
    assert "Traceback" not in result.stderr.split("torch/distributed/elastic")[0]
    assert not (run / "two/pretrain").exists()


def test_two_processes_are_one_run(run):
    """Streamed: one writer, one log, and the weights of a single process after two steps; rounding grows with each."""
    sets = ("machine.resident_mb=0", "pretrain.method=simclr", "pretrain.optim.learning_rate=0.01", "pretrain.steps=2")
    assert call(pretrain, *sets, out="data/one").exit_code == 0
    result = torchrun(*sets, out="data/two/pretrain")
    assert result.returncode == 0, result.stderr
    log = json.loads((run / "two/logs/pretrain.json").read_text())
    assert (log["processes"], log["streamed"]) == (2, True)
    assert list((run / "two/scratch").glob("pretrain-*")) == []
    one, two = (read_backbone(run / name).state_dict() for name in ("one", "two/pretrain"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-4)
