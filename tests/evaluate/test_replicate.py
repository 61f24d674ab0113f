"""Several seeds of one training: what is summed up of them, and what is refused."""

import csv
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from pipeline.base.errors import ArtifactError
from pipeline.base.params import Params, parse_yaml
from pipeline.evaluate.replicates import ReplicateParams, summarise
from stages.summarise import main
from tests.imports import ROOT

RUNS = [{"top1": 0.5, "n": 3, "ece": 0.1}, {"top1": 0.7, "n": 3}, {"top1": 0.9, "n": 3, "ece": 0.2}]


def test_mean_deviation_and_students_interval():
    n, top1 = summarise(RUNS)  # a metric that a run has not is left out
    values = np.array([0.5, 0.7, 0.9])
    assert (top1.metric, top1.n) == ("top1", 3)
    assert (top1.mean, top1.std) == pytest.approx((values.mean(), values.std(ddof=1)))
    low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
    assert (top1.low, top1.high) == pytest.approx((low, 1.0))  # a share: the interval ends at 1
    assert high > 1
    (many,) = summarise([{"n": 10 * run["top1"]} for run in RUNS])
    assert (many.low, many.high) == pytest.approx((10 * low, 10 * high))
    assert (n.mean, n.std, n.low, n.high) == (3, 0, 3, 3)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "params.yaml").write_text("replicate: {seeds: [4, 7, 9]}")
    for seed, metrics in zip((4, 7, 9), RUNS, strict=True):
        (tmp_path / f"seeds/{seed}/evaluate").mkdir(parents=True)
        (tmp_path / f"seeds/{seed}/evaluate/metrics.json").write_text(json.dumps(metrics))
    return tmp_path


def test_the_command_writes_a_table_and_flat_metrics(folder):
    result = CliRunner().invoke(main, [str(folder)])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("top1                    0.7000 ± 0.2000, 95 % ")
    rows = list(csv.DictReader((folder / "summary.csv").read_text().splitlines()))
    assert [(row["metric"], row["n"], row["mean"]) for row in rows] == [("top1", "3", "0.7")]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == {"n_seeds": 3, "top1_mean": pytest.approx(0.7), "top1_std": pytest.approx(0.2)}


def test_refusals(folder):
    def refusal():
        result = CliRunner().invoke(main, [str(folder)])
        assert result.exit_code == 1
        return result.output.removeprefix("Error: ").strip().replace(str(folder), ".")

    shutil.rmtree(folder / "seeds/7")
    assert "./seeds/7/evaluate/metrics.json" in refusal()
    for seeds in ("[4]", "[4, 4]", "[-1, 2]"):
        (folder / "params.yaml").write_text(f"replicate: {{seeds: {seeds}}}")
        expected = "replicate.seeds: expected two different seeds or more, none below 0"
        assert refusal() == f"./params.yaml: {expected}, got {seeds}"
    (folder / "params.yaml").unlink()
    assert refusal() == "[Errno 2] No such file or directory: './params.yaml'"


def test_a_metric_that_is_no_number():
    with pytest.raises(ArtifactError, match=r"^metrics\.json: top1: expected a number, got 'high'$"):
        summarise([{"top1": 0.5}, {"top1": "high"}])


def test_the_seeds_in_the_repository_are_accepted():
    file = ROOT / "experiments/replicate/params.yaml"
    assert Params(parse_yaml(file.read_text(), ""), "").block("replicate", ReplicateParams).seeds == (0, 1, 2)
