"""The command `select` on sixty vectors, in the chain or as a bare matrix; `conftest.py` lays them out."""

import json
from pathlib import Path

from click.testing import CliRunner

from pipeline.artifacts.picks import Selection
from stages.select import main

KEYS = [f"k{i:03d}" for i in range(60)]
NUMBERS = [str(i) for i in range(60)]
VECTORS = ("--vectors", "x.npy", "--out", "o")


def run(*arguments, **values):
    """Of the values of `select`; `__` stands for a dot."""
    sets = [part for key, value in values.items() for part in ("--set", f"select.{key.replace('__', '.')}={value}")]
    return CliRunner().invoke(main, [*arguments, *sets])


def done(*arguments, **values):
    result = run(*arguments, **values)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments, **values):
    result = run(*arguments, **values)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert not Path("o").exists()
    return result.stderr.removeprefix("Error: ").strip()


def picked(folder="data/select"):
    return Selection.read(Path(folder, "picks.csv")).keys


def record(folder="data/select"):
    return json.loads(Path(folder, "record.json").read_text())
