"""The benchmarks, which no other test runs, still find what they measure."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.ledger import Figure, close, machine
from benchmarks.losses import loss_of
from benchmarks.training import OF_VIEWS, PARAMS
from pipeline.nn.device import Device
from pipeline.pretrain.methods import METHODS


def test_all_benchmarks_import():
    names = sorted(f"benchmarks.{file.stem}" for file in Path("benchmarks").glob("*.py"))
    assert len(names) > 10
    subprocess.run([sys.executable, "-c", f"import {', '.join(names)}"], check=True)


@pytest.mark.parametrize("name", OF_VIEWS)
def test_every_method_of_two_views_has_a_loss_to_measure(name):
    loss_of(name, PARAMS.block(f"pretrain.{name}", METHODS[name].Params), 16, 4096, Device.choose("fp32"))().backward()


def test_a_figure_that_falls_by_more_than_a_tenth_fails_and_is_not_kept(tmp_path, capsys):
    record = tmp_path / "record.json"

    def run(ratio, limit=None, name="fit"):
        return close("training", [Figure(name, ratio, limit)], record), capsys.readouterr().out

    assert [run(ratio)[0] for ratio in (1.0, 0.95, 1.05, 0.91, 0.87)] == [0, 0, 0, 0, 1]
    assert run(0.8)[1].split()[-4:] == ["fit", "0.80", "0.97", "fell"]
    assert json.loads(record.read_text())[machine()] == {"training": {"fit": [1.0, 0.95, 1.05, 0.91]}}
    status, said = run(0.7, 0.85, "another")
    assert (status, said.split()[-6:]) == (1, ["another", "0.70", "0.85", "below", "the", "limit"])
    record.write_text(record.read_text().replace(machine(), "another machine"))
    assert run(0.5)[0] == 0
