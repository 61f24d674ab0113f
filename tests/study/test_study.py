"""A study of a small real run: its scores are the chain's own, its records are kept, and what it refuses."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.artifacts.labels import Labels
from pipeline.base.files import read_json
from pipeline.base.params import Params
from pipeline.evaluate.run import evaluate
from pipeline.study.score import Data, Scorer, training_values
from stages.study import main
from stages.train import main as train
from tests.commands import FEW, refusal

SMALL = ("--budget", "20", "--seeds", "2", "--selector", "kmeans")


def study(*more):
    return CliRunner().invoke(main, [*SMALL, *more])


def files(data):
    return {file.name: file.stat().st_mtime_ns for file in (data / "study/records").iterdir()}


def test_scores_are_those_of_train_and_evaluate(run):
    labels = Labels.read(run / "label/labels.csv")
    data = Data.read(run)
    rows = np.array([data.train.keys.index(key) for key in labels.rows])
    paths = {name: run / name for name in ("ingest", "embed", "graph")}
    sets = [*FEW, "train.method=supervised", "seed=3", "evaluate.random_draws=2"]
    told = [word for item in sets for word in ("--set", item)]
    assert CliRunner().invoke(train, [*told, "--out", "data/other"]).exit_code == 0
    params = Params.read(run.parent / "params.yaml", sets)
    audit = run / "label/audit.csv"
    evaluate(params, **paths, labels=run / "label/labels.csv", audit=audit, model=run / "other", out=run / "evaluate")
    metrics, scorer = read_json(run / "evaluate/metrics.json"), Scorer(data, data.neighbours(), params)
    assert scorer.score("supervised", rows, 3)["top1"] == metrics["top1"]
    assert scorer.score("probe", rows, 3)["top1"] == metrics["probe_top1"]
    propagated = scorer.score("propagate", rows, 3)
    assert propagated["top1"] == metrics["propagate_top1"]
    assert propagated["estimated"] == pytest.approx(metrics["estimated_top1"], abs=1e-6)
    assert propagated["classes"] == metrics["classes_covered"]
    assert not list((run / "study/work").iterdir())  # what is done leaves no files of the training


def test_labels_of_some_classes_alone_count_for_these_classes(run):
    data = Data.read(run)
    rows = np.flatnonzero(data.y >= 7)[:30]
    for method in ("propagate", "probe"):
        score = Scorer(data, data.neighbours(), Params.read(run.parent / "params.yaml")).score(method, rows, 0)
        assert score["classes"] == 3
        assert 0.2 < score["top1"] < 0.4  # three of ten classes


def test_a_larger_grid_adds_to_what_is_recorded_and_other_values_are_computed_anew(run):
    assert study().exit_code == 0
    small = files(run)
    assert len(small) == 2 * 2 * (1 + 4)  # methods, seeds, budgets of kmeans and of random, which has three more
    tables = [(run / "study" / name).read_bytes() for name in ("study.csv", "study.md")]
    assert study().exit_code == 0
    assert files(run) == small
    assert tables == [(run / "study" / name).read_bytes() for name in ("study.csv", "study.md")]
    assert study("--seeds", "3").exit_code == 0
    assert files(run).items() > small.items()
    before = files(run)
    assert study("--set", "train.propagate.alpha=0.5").exit_code == 0
    new = files(run).keys() - before.keys()
    assert len(new) == len(small) / 2
    assert all("propagate" in name for name in new)
    assert study("--set", "select.kmeans.iterations=3").exit_code == 0
    assert {name.split("-")[0] for name in files(run).keys() - before.keys() - new} == {"kmeans"}


@pytest.mark.parametrize(("key", "place"), [("distill.teacher", "."), ("dynamic.base", "data/train")])
def test_another_model_of_a_teacher_or_another_run_is_another_record(key, place, tmp_path):
    params = Params.read(Path("params.yaml")).with_values(f"train.{key}={tmp_path}")
    found = []
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for model in (b"one", b"another"):
        (tmp_path / place / "model.safetensors").write_bytes(model)
        found.append([training_values(method, params) for method in (key.split(".")[0], "supervised")])
    assert found[0][0] != found[1][0]
    assert found[0][1] == found[1][1]


def test_the_table_says_what_the_records_say(run):
    said = study()
    assert said.exit_code == 0
    records = [json.loads(file.read_text()) for file in (run / "study/records").iterdir()]
    with (run / "study/study.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 2 * 5

    def top1(selector):
        kept = [r for r in records if (r["selector"], r["budget"], r["method"]) == (selector, 20, "probe")]
        return np.array([r["top1"] for r in sorted(kept, key=lambda r: r["seed"])])

    row = next(r for r in table if (r["selector"], r["budget"], r["method"]) == ("kmeans", "20", "probe"))
    assert float(row["top1"]) == pytest.approx(top1("kmeans").mean(), abs=1e-6)
    assert float(row["to_random"]) == pytest.approx((top1("kmeans") - top1("random")).mean(), abs=1e-6)
    assert float(row["low"]) <= float(row["top1"]) <= float(row["high"]) <= 1
    gap = f"{100 * float(row['to_random']):+.1f} points to random picks"
    sentence = f"kmeans and probe, 20 labels: {float(row['top1']):.1%}, {gap} ("
    assert [line.split(",")[0] for line in said.stdout.splitlines()[-3:-1]] == [
        "kmeans and propagate",
        "kmeans and probe",
    ]
    assert said.stdout.splitlines()[-2].startswith(sentence)
    page = (run / "study/study.md").read_text()
    assert "## propagate, 20 labels" in page
    assert "holds the truth in" in page
    assert "80 labels" not in page  # random alone: measured for the multipliers


def test_all_images_may_have_a_label(run):
    """As random picks have in a set of 200, 400 or 800 images, where 100 labels are asked for."""
    assert study("--budget", "100", "--method", "propagate", "--selector", "kmeans").exit_code == 0
    assert "random-400-0-propagate" in " ".join(files(run))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--selector", "margin"), "'margin', which needs the model of an earlier round"),
        (("--selector", "kmens"), "got 'kmens'; is it kmeans?"),
        (("--method", "fixmtch"), "got 'fixmtch'; is it fixmatch?"),
        (("--set", "select.rules.outliers=0.5"), "expected no select.rules, as selectors are compared without them"),
        (("--seeds", "1"), "2 seeds or more, got 1"),
        (("--budget", "0"), "budgets of at least 1, got 0"),
        (("--budget", "5000"), "at most 400, the training images, got 5000"),
    ],
)
def test_what_it_refuses(run, more, said):
    assert said in refusal(study(*more))
    assert not (run / "study").exists()


def test_a_damaged_record_is_named(run):
    assert study("--method", "probe").exit_code == 0
    file = next((run / "study/records").iterdir())
    file.write_text("{}")
    assert refusal(study("--method", "probe")).endswith("got {}; delete the file")


def test_images_without_an_answer_are_refused(run):
    answers = Labels.read(run / "ingest/answers.csv")
    Labels(answers.levels, dict(list(answers.rows.items())[3:])).write(run / "ingest/answers.csv")
    assert "expected the answer of every image, as a study asks for any of them; 3 of 500" in refusal(study())
