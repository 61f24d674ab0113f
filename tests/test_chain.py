"""The whole chain through DVC on real images: same bytes twice, nothing runs twice, a kill loses nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from pipeline.base.files import sha256
from pipeline.base.params import STAGES, Params
from stages.new_run import main as new_run
from tests.imports import ROOT

pytestmark = pytest.mark.slow

# Small, but with every stage real, and a network that `train` trains; tests/test_images_walk.py has the default.
SMALL = ("pretrain.steps=30", "pretrain.batch_size=64", "select.budget=20")
SMALL += ("train.method=fixmatch", "train.steps=20", "train.batch_size=8")
CHECKED = "Running stage 'params':"  # it looks at all params, used or not
ENV = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
ENV.pop("PYTHONPATH", None)


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def laid_out(folder: Path, *sets: str) -> Path:
    arguments = [str(folder), *(part for item in (*SMALL, *sets) for part in ("--set", item))]
    os.environ["PATH"] = ENV["PATH"]
    result = CliRunner().invoke(new_run, arguments)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Path:
    """A folder in which `dvc repro` has run once."""
    folder = laid_out(tmp_path_factory.mktemp("chain") / "run")
    run(folder, "dvc", "repro")
    return folder


def stage_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("Running stage")]


def test_every_output_is_there_and_the_metrics_are_shown(chain):
    graph = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    outputs = [out for stage in graph.values() for out in (*stage["outs"], *stage.get("metrics", []))]
    assert [out for out in outputs if not (chain / out).exists()] == []
    shown = run(chain, "dvc", "metrics", "show", "data/evaluate/metrics.json")
    for name in ("top1", "top1_low", "top1_high", "macro_f1", "ece", "n_labels", "knn_top1", "probe_top1",
                 "random_probe_top1_mean", "random_probe_top1_std", "classes_covered"):  # fmt: skip
        assert name in shown
    run(chain, "dvc", "plots", "show")
    page = (chain / "dvc_plots" / "index.html").read_text()
    for plot in ("pretraining", "training", "confusion"):
        assert plot in page


def test_nothing_runs_twice_nor_for_an_unused_block_or_method(chain):
    assert stage_lines(run(chain, "dvc", "repro")) == []
    params, mine = chain / "params.yaml", chain / "pipeline/train/methods/mine.py"
    text = params.read_text()
    try:
        for old, new in (("temperature: 0.07", "temperature: 0.08"), ("resident_mb: 8000", "resident_mb: 7000")):
            params.write_text(text.replace(old, new))
            assert params.read_text() != text
            assert stage_lines(run(chain, "dvc", "repro")) == [CHECKED]
        params.write_text(text)
        run(chain, "dvc", "repro")
        mine.write_text("# a method that is not in use\n")
        assert stage_lines(run(chain, "dvc", "repro")) == []
        params.write_text(text.replace("pictures: ", "pictures: 1"))
        assert stage_lines(run(chain, "dvc", "repro")) == [CHECKED, "Running stage 'report':"]
    finally:
        mine.unlink(missing_ok=True)
        params.write_text(text)
        run(chain, "dvc", "repro")


def test_again_elsewhere_gives_the_same_bytes(chain, tmp_path):
    other = laid_out(tmp_path / "run")
    run(other, "dvc", "repro", "--no-run-cache")

    def outs(folder):
        lock = YAML(typ="safe").load((folder / "dvc.lock").read_text())["stages"]
        made = [out for stage in lock.values() for out in stage["outs"]]
        return [out for out in made if out["path"] != "data/report/index.html"]  # the page says how long stages took

    assert outs(other) == outs(chain)


def test_killed_in_training_and_started_again_gives_the_same_bytes(chain, tmp_path):
    """A real SIGKILL, once some steps are done; `--save-seconds 0` saves after each."""
    command = [sys.executable, "-m", "stages.pretrain", "--save-seconds", "0", "--out", str(tmp_path / "pretrain")]
    process = subprocess.Popen(command, cwd=chain, env=ENV, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("scratch/pretrain-*/state.safetensors")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "pretrain").exists()
    run(chain, *command)
    for name in ("backbone.safetensors", "backbone.json", "head.safetensors", "head.json", "curve.csv"):
        assert sha256(tmp_path / "pretrain" / name) == sha256(chain / "data" / "pretrain" / name)
    assert list(tmp_path.glob("scratch/pretrain-*")) == []


def test_a_second_round_adds_to_the_first(chain, tmp_path):
    """`keep_round`, then `dvc repro` with a method that reads the model's outputs."""
    folder = tmp_path / "run"
    shutil.copytree(chain, folder)
    rounds, first = folder / "data/rounds", (folder / "data/label/labels.csv").read_text()
    labels = folder / "data/label/labels.csv"
    labels.write_text(first + first.splitlines()[1] + "\n")
    refused = subprocess.run(
        [sys.executable, "-m", "stages.keep_round"], cwd=folder, env=ENV, capture_output=True, text=True, check=False
    )
    assert "expected a model trained on data/label/labels.csv as it is now, got another" in refused.stderr
    assert not (rounds / "00").exists()
    labels.write_text(first)
    said = run(folder, sys.executable, "-m", "stages.keep_round")
    assert said == "data/rounds/00/labels.csv: 20 labels; `dvc repro` goes on with the next round\n"
    kept = (rounds / "00/labels.csv").read_text().splitlines()  # in the order of the picks
    assert (kept[0], sorted(kept[1:])) == (first.splitlines()[0], sorted(first.splitlines()[1:]))
    outputs = {path: sha256(path) for path in (rounds / "outputs").iterdir()}
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("method: auto", "method: margin"))
    lines = stage_lines(run(folder, "dvc", "repro"))
    assert lines == [
        CHECKED,
        *(f"Running stage '{name}':" for name in ("select", "label", "train", "evaluate", "report")),
    ]
    assert stage_lines(run(folder, "dvc", "repro")) == []
    keys = [line.split(",")[0] for line in (folder / "data/label/labels.csv").read_text().splitlines()[1:]]
    assert len(set(keys)) == len(keys) == 40
    assert set(first.splitlines()) < set((folder / "data/label/labels.csv").read_text().splitlines())
    assert json.loads((folder / "data/select/record.json").read_text())["labelled_before"] == 20
    assert json.loads((folder / "data/evaluate/metrics.json").read_text())["n_labels"] == 40
    assert "01/labels.csv: 20 labels" in run(folder, sys.executable, "-m", "stages.keep_round")
    refused = subprocess.run(
        [sys.executable, "-m", "stages.keep_round"], cwd=folder, env=ENV, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert "expected picks that no round holds, got 20 that are kept already" in refused.stderr
    assert outputs != {path: sha256(path) for path in (rounds / "outputs").iterdir()}  # those of the new model


def test_each_stage_reads_the_params_that_the_graph_names(chain, tmp_path, monkeypatch):
    """Records what each command asks of params.yaml, and holds it against dvc.yaml with its templates filled in."""
    graph = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    tree = YAML(typ="safe").load((chain / "params.yaml").read_text())
    reads: set[str] = set()
    check, method, seed = Params._check, Params.method, Params.seed.fget
    monkeypatch.setattr(
        Params, "_check",
        lambda self, dotted, values, model: (
            reads.update({dotted, *(f"{dotted}.{field}" for field in model.model_fields)}),
            check(self, dotted, values, model),
        )[1],
    )  # fmt: skip
    monkeypatch.setattr(
        Params, "method", lambda self, dotted, table: (reads.add(dotted), method(self, dotted, table))[1]
    )
    lookup = Params.lookup

    def recorded(self, dotted):
        value = lookup(self, dotted)
        if not isinstance(value, dict):
            reads.add(dotted)
        return value

    monkeypatch.setattr(Params, "lookup", recorded)
    monkeypatch.setattr(Params, "seed", property(lambda self: (reads.add("seed"), seed(self))[1]))
    monkeypatch.chdir(chain)
    for name in STAGES:
        reads.clear()
        command = __import__(f"stages.{name}", fromlist=["main"]).main
        result = CliRunner().invoke(command, ["--out", str(tmp_path / name)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        named = {filled(param, tree) for param in graph[name]["params"]}
        # A stage's own block is named by its leaves; `machine` changes no result.
        whole_stage = {read for read in reads - {name} if read.split(".")[0] != "machine"}
        assert {r for r in whole_stage if not any(r == p or r.startswith(f"{p}.") for p in named)} == set(), name
        assert {p for p in named if not any(r == p or r.startswith(f"{p}.") for r in whole_stage)} == set(), name


def filled(param: str, tree: dict) -> str:
    """`select.${select.method}` with the value of `select.method` in place of the template."""
    before, template, after = param.partition("${")
    if not template:
        return param
    dotted, _, rest = after.partition("}")
    value = tree
    for part in dotted.split("."):
        value = value[part]
    return f"{before}{value}{rest}"


def test_replicates_train_each_seed_once_over_what_is_there(chain):
    """A seed more trains that seed alone; one that is there, and the chain itself, are left alone."""
    home = "experiments/replicate"
    assert not (chain / home).exists()
    make = ("make", "-o", f"{sys.prefix}/ready", f"VENV={sys.prefix}", "replicate", f"RUN={chain}")

    def replicate(seeds):
        (chain / home).mkdir(parents=True, exist_ok=True)
        (chain / home / "params.yaml").write_text(f"replicate: {{seeds: {seeds}}}\n")
        lines = stage_lines(run(ROOT, *make))
        return [line.split(":")[-2].rstrip("'") for line in lines]

    assert sorted(replicate([3, 5])) == ["evaluate@3", "evaluate@5", "summarise", "train@3", "train@5"]
    assert replicate([3, 5]) == []
    assert sorted(replicate([3, 5, 0])) == ["evaluate@0", "summarise", "train@0"]
    metrics = [json.loads((chain / home / f"seeds/{seed}/evaluate/metrics.json").read_text()) for seed in (3, 5, 0)]
    summary = json.loads((chain / home / "metrics.json").read_text())
    assert summary["top1_mean"] == pytest.approx(sum(m["top1"] for m in metrics) / 3)
    # The chain's own seed gives the chain's own model.
    model = "train/model.safetensors"
    assert sha256(chain / home / "seeds/0" / model) == sha256(chain / "data" / model)
    assert sha256(chain / home / "seeds/3" / model) != sha256(chain / "data" / model)
