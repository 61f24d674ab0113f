"""The evaluate command on a real run: its files, the same bytes twice, and what it refuses."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.left_out import SaidWithout
from pipeline.artifacts.predictions import Predictions
from pipeline.artifacts.shards import Manifest
from pipeline.base.files import read_csv, read_json
from stages.evaluate import main

FILES = ["class_shares.csv", "draws.csv", "left_out.csv", "metrics.json", "plots/confusion.png", "predictions.csv"]


@pytest.fixture
def data(run):
    """The data folder of a run, which lies in the working directory."""
    return run


def evaluate(*more):
    return CliRunner().invoke(main, ["--set", "evaluate.random_draws=3", *more])


def refusal(*more):
    result = evaluate(*more)
    assert result.exit_code == 1
    assert not Path("data/evaluate").exists()
    return result.stderr.splitlines()[-1].removeprefix("Error: ")


def test_a_level_above_none_of_the_models_classes_is_left_out(data):
    answers = Labels.read(data / "ingest/answers.csv").rows
    Labels(["label", "kind"], {key: [f"no {names[0]}", "odd"] for key, names in answers.items()}).write(
        data / "ingest/answers.csv"
    )
    assert evaluate().exit_code == 0
    assert not [name for name in read_json(data / "evaluate/metrics.json") if name.startswith("kind")]


def test_files_hold_what_they_should_and_are_the_same_bytes_twice(data, caplog):
    for out in ("evaluate", "again"):
        with caplog.at_level("INFO"):
            assert evaluate("--out", str(data / out)).exit_code == 0
        found = sorted(p.relative_to(data / out).as_posix() for p in (data / out).rglob("*") if p.is_file())
        assert found == FILES
    assert all((data / "evaluate" / n).read_bytes() == (data / "again" / n).read_bytes() for n in FILES)
    propagated = {"propagate_top1", "random_propagate_top1_mean", "random_propagate_top1_std", "estimated_top1"}
    assert (
        propagated | {"estimated_top1_at_least", "forecast_40_top1_low"}
        <= read_json(data / "evaluate/metrics.json").keys()
    )
    assert not [line for line in caplog.messages if line.startswith("absent")]
    said, given = SaidWithout.read(data / "evaluate/left_out.csv"), Labels.read(data / "label/labels.csv").rows
    classes = [names[0] for names in given.values()]
    assert dict(zip(said.keys, said.labels, strict=True)) == {
        key: names[0] for key, names in given.items() if classes.count(names[0]) > 1
    }
    right = [a == b for a, b in zip(said.labels, said.said, strict=True)]
    assert 0.5 < np.mean(right) < 1
    assert said.confidence.min() > 0.1
    shares = read_csv(data / "evaluate/class_shares.csv", ("label", "assumed", "found"))[1]
    for column in (1, 2):
        assert sum(float(row[column]) for row in shares) == pytest.approx(1, abs=1e-4)
    metrics, rows = read_json(data / "evaluate/metrics.json"), Predictions.read(data / "evaluate/predictions.csv")
    answers = Labels.read(data / "ingest/answers.csv").rows
    assert list(rows.keys) == (data / "embed/test/keys.txt").read_text().split()
    assert [answers[key][0] for key in rows.keys] == list(rows.answers)
    right = sum(a == b for a, b in zip(rows.answers, rows.predictions, strict=True))
    assert metrics["top1"] == right / 100 > 0.5
    draws = list(csv.DictReader((data / "evaluate/draws.csv").read_text().splitlines()))
    assert [row["draw"] for row in draws] == ["0", "1", "2"]
    assert sum(float(row["top1"]) for row in draws) / 3 == pytest.approx(metrics["random_probe_top1_mean"])
    with Image.open(data / "evaluate/plots/confusion.png") as image:
        assert set(image.info) <= {"dpi"}  # no software and no date


def test_without_answers_no_picture_and_no_accuracy_is_written(data):
    (data / "ingest/answers.csv").write_text("key,label\n")
    assert evaluate().exit_code == 0
    assert list((data / "evaluate/plots").iterdir()) == []
    assert (data / "evaluate/draws.csv").read_text() == "draw,top1,classes_covered\n"
    assert "top1" not in json.loads((data / "evaluate/metrics.json").read_text())
    assert set(Predictions.read(data / "evaluate/predictions.csv").answers) == {""}


def test_names_that_matplotlib_would_set_as_formulas_or_cannot_draw(data):
    for name in ("label/labels.csv", "ingest/answers.csv"):
        text = (data / name).read_text().replace("zero", "$\\bad{$").replace("one", "猫")
        (data / name).write_text(text)
    assert evaluate().exit_code == 0


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("label/labels.csv", "expected a file, found none"),
        ("train/model.safetensors", "expected a safetensors file, found none; go to the folder of a run"),
        ("embed/train/vectors.npy", "expected a .npy file, found none"),
    ],
)
def test_a_missing_input_is_named_and_nothing_is_written(data, missing, message):
    (data / missing).unlink()
    assert refusal() == f"{data / missing}: {message}"


def test_a_model_for_other_images_and_another_shard_are_named(data):
    file = data / "ingest/manifest.json"
    m = Manifest.read(file)
    Manifest(m.source, 3, (8, 8), m.splits, m.bad).write(file)
    assert refusal() == (
        "model.json: expected a model for images of 3 channels and size (8, 8), as in manifest.json, "
        "got one for 1 and (8, 8); `dvc repro -f train` makes it anew"
    )
    Manifest(m.source, 1, (8, 8), m.splits, m.bad).write(file)
    shard = m.splits["test"][0]
    larger = replace(shard, bytes=shard.bytes + 1)
    Manifest(m.source, 1, (8, 8), {**m.splits, "test": [larger]}, m.bad).write(file)
    assert refusal().startswith(f"{shard.path}: expected the shard of {larger.bytes} bytes")


@pytest.mark.usefixtures("data")
def test_a_number_out_of_range_is_refused():
    says = "params.yaml: evaluate.random_draws: expected greater than or equal to 2, got 1"
    assert refusal("--set", "evaluate.random_draws=1") == says
