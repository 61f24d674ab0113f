"""The stages' commands on a small run, in one process or two, and what they refuse."""

import os
import subprocess
import sys

from click.testing import CliRunner

from tests.imports import ROOT

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")

FEW = (
    "train.method=fixmatch", "train.steps=4", "train.batch_size=4", "train.bit.batch_size=4", "pretrain.steps=4",
    "pretrain.batch_size=16",
)  # fmt: skip


def call(command, *sets, **options):
    arguments = [part for item in (*FEW, *sets) for part in ("--set", item)]
    arguments += [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return CliRunner().invoke(command, arguments)


def torchrun(stage, *sets, out):
    """The command of `stage` under two processes; returns what they said."""
    options = [part for item in (*FEW, *sets) for part in ("--set", item)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*TORCHRUN, "-m", f"stages.{stage}", *options, "--out", out]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=120)


def refusal(result):
    assert result.exit_code == 1, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("Error: ")
