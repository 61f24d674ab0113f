"""A round is kept and the next one set in one step, or nothing changes."""

import json
import shutil
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.shards import Index
from pipeline.base.params import Params
from stages.evaluate import main as evaluate
from stages.next_round import main as next_round
from stages.select import main as select
from stages.train import main as train
from tests.commands import call as stage
from tests.commands import refusal
from tests.digits_tree import relabel
from tests.imports import ROOT


def call(*arguments):
    return CliRunner().invoke(next_round, list(arguments))


@pytest.fixture
def measured(run):
    """The run's data folder, with its `evaluate`."""
    relabel(run, Labels.read(run / "label/labels.csv").rows)
    assert CliRunner().invoke(evaluate, ["--set", "evaluate.random_draws=2"]).exit_code == 0
    return run


def test_it_keeps_the_round_and_the_next_picks_are_others_that_the_model_is_unsure_of(measured):
    run = measured
    labels, metrics = Labels.read(run / "label/labels.csv"), json.loads((run / "evaluate/metrics.json").read_text())
    about = json.loads((run / "train/model.json").read_text())
    (run / "train/model.json").write_text(json.dumps({**about, "discovered": ["nine"]}))
    picked = [*reversed(Selection.read(run / "select/picks.csv").keys)]
    Selection(picked, np.arange(len(picked), 0.0, -1)).write(run / "select/picks.csv")
    said = call("--budget", "5").output.splitlines()
    assert json.loads((run / "rounds/outputs/head.json").read_text()) == {"discovered": ["nine"]}
    kept = Labels.read(run / "rounds/00/labels.csv").rows
    assert kept == labels.rows
    assert [*kept] == picked != sorted(picked)
    assert said[0].startswith(f"round 0: {len(labels.rows)} labels are kept in data/rounds/00/labels.csv; ")
    assert f"{metrics['top1']:.1%} of {metrics['n_test_answered']} test images are right" in said[0]
    assert said[1:3] == ["  select.method was auto and is uherding now", "  select.budget was 40 and is 5 now"]
    assert f"the estimate is {metrics['estimated_top1']:.0%} now" in said[3]  # the test set is what counts
    now, before = (Params.read(file) for file in (run / "../params.yaml", ROOT / "params.yaml"))
    chosen = {**before.lookup("select"), "method": "uherding", "budget": 5}
    assert now.tree == {**before.tree, "select": chosen}
    assert "# images to label" in (run / "../params.yaml").read_text()  # comments stay
    assert CliRunner().invoke(select, []).exit_code == 0
    picks = Selection.read(run / "select/picks.csv").keys
    assert len(picks) == 5
    assert not {*picks} & {*labels.rows}
    assert not (run / "previous").exists()  # nncsl cannot go on from a model of linear layers
    assert json.loads((run / "select/record.json").read_text())["method"] == "uherding"
    assert "that are kept already" not in refusal(call())  # these picks have no label yet
    (run / "label/labels.csv").unlink()
    assert "expected the labels of this round, found none; `dvc repro` first" in refusal(call())
    (run / "label/page.html").touch()
    assert "found none; `python -m stages.label --serve` first" in refusal(call())


def test_a_model_by_supports_is_kept_and_nncsl_goes_on_from_it(run, caplog):
    small, previous = ("train.paws.num_unlabelled=8", "train.nncsl.num_unlabelled=8"), run / "previous"
    assert stage(train, "train.method=paws", *small).exit_code == 0
    assert stage(evaluate, "evaluate.random_draws=2").exit_code == 0
    assert call("--budget", "5").exit_code == 0
    assert {file.name for file in previous.iterdir()} == {".gitkeep", "model.json", "model.safetensors"}
    for name in ("model.json", "model.safetensors"):
        assert (previous / name).read_bytes() == (run / "train" / name).read_bytes()
    with caplog.at_level("INFO"):
        assert stage(train, "train.method=nncsl", *small).exit_code == 0
    assert "this is the first round" not in caplog.text
    assert "distilled" in (run / "train/curve.csv").read_text().splitlines()[0]


def test_where_something_is_missing_nothing_changes_and_who_came_by_make_reads_make(measured, monkeypatch):
    run, home = measured, measured.resolve().parent
    for file in ("Makefile", "stages/images.py"):
        (home / file).parent.mkdir(exist_ok=True)
        (home / file).touch()
    monkeypatch.setattr(sys, "prefix", str(home / ".venv"))
    before = (run / "../params.yaml").read_bytes()
    assert CliRunner().invoke(next_round, ["--method", "typicclust"]).exit_code == 2
    left = 400 - len(Labels.read(run / "label/labels.csv").rows)
    assert f"--budget: expected at most {left}, the images that are left" in refusal(call("--budget", str(left + 1)))
    (run / "rounds/00").mkdir(parents=True)
    shutil.copy(run / "label/labels.csv", run / "rounds/00")
    assert "that are kept already; `make images RUN=.` chooses others" in refusal(call())
    shutil.rmtree(run / "rounds")
    metrics = json.loads((run / "evaluate/metrics.json").read_text())
    (run / "evaluate/metrics.json").write_text(json.dumps({**metrics, "n_labels": 7}))
    assert "got those of 7; `make images RUN=.` first" in refusal(call())
    (run / "train/model.json").write_text("{}")
    says = refusal(call())
    assert "expected a model trained on" in says
    assert says.endswith("got another; `make images RUN=.` first")
    (run / "train/model.json").unlink()
    assert "model.json: expected what a finished `make images RUN=.` leaves" in refusal(call())
    (run / "evaluate/metrics.json").unlink()
    assert "metrics.json: expected what a finished `make images RUN=.` leaves" in refusal(call())
    assert (run / "../params.yaml").read_bytes() == before
    assert not (run / "rounds/00").exists()
    assert Params.read(run / "../params.yaml").lookup("select.budget") == 40


@pytest.mark.parametrize(
    ("count", "tested", "budget", "says"),
    [
        (39, 0, 20, ""),
        (40, 0, 20, "about 8"),
        (40, 0, 1, "the estimate is 80% now"),
        (40, 100, 20, "the estimate goes from 80% to 8"),
    ],
)
def test_a_forecast_is_told_where_there_are_labels_enough(measured, count, tested, budget, says):
    file = measured / "evaluate/metrics.json"
    rows = dict(Labels.read(measured / "label/labels.csv").rows)
    name, others = next(iter(rows.values())), Index.read(measured / "ingest/index.parquet", "train").key
    rows |= dict.fromkeys([key for key in others if key not in rows][: count - len(rows)], name)
    relabel(measured, rows)
    known = {key: value for key, value in json.loads(file.read_text()).items() if key != "top1" or tested}
    ends = {"": 0.8, "_low": 0.7, "_high": 0.9, "_at_least": 0.72}
    told = {f"estimated_top1{end}": value for end, value in ends.items()}
    file.write_text(json.dumps({**known, **told, "n_labels": len(rows)}))
    line, *more = call("--budget", str(budget)).output.partition("\nround 1: ")[2].splitlines()
    assert line.startswith(f"`dvc repro` chooses {budget} images")
    assert says in line
    assert ("%" in line, "the model may get better all the same" in line) == (bool(says), budget == 1)
    assert [told.partition("an estimate")[2] for told in more] == [" with their labels may be too low"] * bool(says)
