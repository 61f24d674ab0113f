"""The evaluate command on a real run: its files, the same bytes twice, and what it refuses."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.predictions import Predictions
from pipeline.artifacts.shards import Manifest
from stages.evaluate import main

PARAMS = """seed: 0
evaluate: {neighbours: 20, random_draws: 3, batch_size: 64}
reading: {cache_dir: none, cache_mb: 1, retries: 0, wait_s: 0, timeout_s: 1}
"""


@pytest.fixture
def data(digits_run, tmp_path):
    shutil.copytree(digits_run, tmp_path / "data")
    (tmp_path / "params.yaml").write_text(PARAMS)
    return tmp_path / "data"


def evaluate(data, out="evaluate", *more):
    paths = {"ingest": "ingest", "embed": "embed", "labels": "label/labels.csv", "model": "train", "out": out}
    arguments = [word for name, path in paths.items() for word in (f"--{name}", str(data / path))]
    return CliRunner().invoke(main, ["--params", str(data.parent / "params.yaml"), *arguments, *more])


def test_files_hold_what_they_should_and_are_the_same_bytes_twice(data):
    assert evaluate(data).exit_code == 0
    assert evaluate(data, "again").exit_code == 0
    names = ["draws.csv", "metrics.json", "plots/confusion.png", "plots/reliability.png", "predictions.csv"]
    for folder in ("evaluate", "again"):
        found = sorted(p.relative_to(data / folder).as_posix() for p in (data / folder).rglob("*") if p.is_file())
        assert found == names
    assert all((data / "evaluate" / n).read_bytes() == (data / "again" / n).read_bytes() for n in names)
    metrics = json.loads((data / "evaluate/metrics.json").read_text())
    told = Predictions.read(data / "evaluate/predictions.csv")
    answers = Labels.read(data / "ingest/answers.csv").rows
    assert list(told.keys) == (data / "embed/test/keys.txt").read_text().split()
    assert [answers[key][0] for key in told.keys] == list(told.answers)
    right = sum(a == b for a, b in zip(told.answers, told.predictions, strict=True))
    assert metrics["top1"] == right / 100 > 0.5
    draws = list(csv.DictReader((data / "evaluate/draws.csv").read_text().splitlines()))
    assert [row["draw"] for row in draws] == ["0", "1", "2"]
    assert sum(float(row["top1"]) for row in draws) / 3 == pytest.approx(metrics["random_probe_top1_mean"])


def test_pictures_carry_no_software_and_no_date(data):
    evaluate(data)
    for file in (data / "evaluate/plots").iterdir():
        with Image.open(file) as image:
            assert set(image.info) <= {"dpi"}


def test_without_answers_no_picture_and_no_accuracy_is_written(data):
    (data / "ingest/answers.csv").write_text("key,label\n")
    result = evaluate(data)
    assert result.exit_code == 0
    assert list((data / "evaluate/plots").iterdir()) == []
    assert (data / "evaluate/draws.csv").read_text() == "draw,top1,classes_covered\n"
    assert "top1" not in json.loads((data / "evaluate/metrics.json").read_text())
    assert {row[1] for row in csv.reader((data / "evaluate/predictions.csv").read_text().splitlines())} == {
        "answer",
        "",
    }


def test_names_that_matplotlib_would_set_as_formulas_or_cannot_draw(data):
    for name in ("label/labels.csv", "ingest/answers.csv"):
        text = (data / name).read_text().replace("zero", "$\\bad{$").replace("one", "猫")
        (data / name).write_text(text)
    assert evaluate(data).exit_code == 0


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("label/labels.csv", "expected a file, found none"),
        ("train/model.safetensors", "expected a safetensors file, found none"),
        ("embed/train/vectors.npy", "expected a .npy file, found none"),
    ],
)
def test_a_missing_input_is_named_and_nothing_is_written(data, missing, message):
    (data / missing).unlink()
    result = evaluate(data)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"Error: {data / missing}: {message}"
    assert not (data / "evaluate").exists()


def test_a_model_for_other_images_is_refused(data):
    m = Manifest.read(data / "ingest/manifest.json")
    Manifest(m.source, 3, (8, 8), m.splits, m.bad).write(data / "ingest/manifest.json")
    result = evaluate(data)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "Error: model.json: expected a model for images of 3 channels and size (8, 8), as in manifest.json, "
        "got one for 1 and (8, 8); `dvc repro -f train` makes it anew"
    )


def test_a_missing_shard_is_named(data):
    shard = Manifest.read(data / "ingest/manifest.json").splits["test"][0]
    there = Path(shard.path)
    there.rename(there.with_suffix(".away"))
    try:
        result = evaluate(data)
    finally:
        there.with_suffix(".away").rename(there)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(f"Error: {shard.path}: expected the shard of {shard.bytes} bytes")


def test_a_number_out_of_range_is_refused(data):
    result = evaluate(data, "evaluate", "--set", "evaluate.random_draws=1")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        f"Error: {data.parent / 'params.yaml'}: evaluate.random_draws: expected greater than or equal to 2, got 1"
    )
