"""The predict command on files of many kinds: what it writes, what it refuses, what it leaves behind."""

import csv
import os

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pipeline.base.files import read_json, write_json
from pipeline.evaluate.abstain import threshold
from pipeline.nn.classifier import Classifier
from pipeline.shards.decode import FORMATS
from stages.predict import main
from tests.digits_tree import digit_images

USUAL = ("class", "confidence", "status", "second", "second_confidence", "third", "third_confidence")


@pytest.fixture
def images(tmp_path):
    """Five scans in three folders, one of them in colour and larger, and a hidden file."""
    folder = tmp_path / "images"
    (folder / "deep/er").mkdir(parents=True)
    (folder / ".hidden").write_text("no image")
    for i, name in enumerate(("b.png", "a.png", "deep/c.png", "deep/er/d.png")):
        Image.fromarray(digit_images()[i]).save(folder / name)
    Image.fromarray(digit_images()[4]).resize((32, 32)).convert("RGB").save(folder / "e.jpg")
    return folder


def predict(run, images, *more, out=None, code=0):
    """The rows of the table, or the lines that the command says where it fails."""
    out = out or images.parent / "predictions.csv"
    words = ["--images", str(images), "--out", str(out), "--model", str(run / "train"), *more]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == code, result.output
    if code:
        return [line for line in result.stderr.splitlines() if line.startswith((str(images), "Error"))]
    rows = list(csv.DictReader(out.read_text().splitlines()))
    unsure = sum(row["status"] == "unsure" for row in rows)
    assert result.stdout.startswith(f"predict: {out}: {len(rows)} images, {unsure} of them unsure")
    return rows


def test_every_image_gets_the_model_s_class_and_its_probability(digits_run, images):
    rows = predict(digits_run, images)
    assert [row["path"] for row in rows] == ["a.png", "b.png", "deep/c.png", "deep/er/d.png", "e.jpg"]
    model = Classifier.read(digits_run / "train")
    confidence, number = model.probabilities(torch.from_numpy(digit_images()[[1, 0, 2, 3]][:, None]), 10)["label"].max(
        1
    )
    assert [row["class"] for row in rows[:4]] == [model.classes[i] for i in number]
    assert [float(row["confidence"]) for row in rows[:4]] == pytest.approx(confidence.tolist(), abs=1e-5)
    for other in (predict(digits_run, images, "--batch-size", "1"), predict(digits_run, images, "--batch-size", "2")):
        assert [row["class"] for row in other] == [row["class"] for row in rows]
        confidence = [float(row["confidence"]) for row in rows]
        assert [float(row["confidence"]) for row in other] == pytest.approx(confidence)


def test_more_classes_and_every_score_on_request(digits_run, images):
    usual = predict(digits_run, images)
    assert list(usual[0]) == ["path", *USUAL]
    classes = Classifier.read(digits_run / "train").classes
    rows = predict(digits_run, images, "--top", "4", "--scores")
    assert list(rows[0]) == ["path", *USUAL, "4th", "4th_confidence", *(f"p({name})" for name in classes)]
    for row, before in zip(rows, usual, strict=True):
        assert {name: row[name] for name in before} == before
        score = {name: float(row[f"p({name})"]) for name in classes}
        assert sum(score.values()) == pytest.approx(1, abs=1e-5)
        best = sorted(classes, key=score.get, reverse=True)[:4]
        assert [row["class"], row["second"], row["third"], row["4th"]] == best
        assert float(row["4th_confidence"]) == pytest.approx(score[best[3]], rel=1e-6)
    assert list(predict(digits_run, images, "--top", "1")[0]) == ["path", *USUAL[:3]]
    assert len(predict(digits_run, images, "--top", "99")[0]) == 2 + 2 * len(classes)


@pytest.mark.parametrize(
    ("wished", "confidence", "said"),
    [
        # One more than the labels is taken to be wrong: 3 of 4, 5 of 7, 8 of 11.
        ("0.75", 0.7, "a class from a confidence of 0.700 on: 100% of the 3 labels left out that reach it are right"),
        ("0.7", 0.1, "a class from a confidence of 0.100 on: 80% of the 10 labels left out that reach it are right"),
    ],
)
def test_below_the_confidence_that_keeps_an_accuracy_it_is_unsure(run, images, wished, confidence, said):
    about = read_json(run / "train/model.json")
    left_out = {
        "confidence": [0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1],
        "right": [True] * 3 + [False] * 2 + [True] * 5,
    }
    write_json(run / "train/model.json", {**about, "left_out": left_out})
    rows = predict(run, images, "--abstain", wished)
    assert said == str(threshold(run / "train", float(wished)))
    assert [row["status"] for row in rows] == [
        "predicted" if float(row["confidence"]) >= confidence else "unsure" for row in rows
    ]
    assert predict(run, images, "--abstain", "0.9", code=1) == [
        "Error: --abstain: expected an accuracy that some labels left out reach, at most 75%, got 0.9"
    ]
    write_json(run / "train/model.json", about)
    assert "expected a model of train.method=propagate" in predict(run, images, "--abstain", "0.9", code=1)[0]


def test_bad_images_are_named_and_the_others_labelled(digits_run, images):
    (images / "c.png").write_bytes(b"")
    (images / "notes.scan").write_text("no image")
    (images / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(images / "pipe.png")
    out = images.parent / "predictions.csv"
    assert predict(digits_run, images, code=1) == [
        f"{images}/c.png: the file has zero bytes",
        f"{images}/gone.png: it is a link to nowhere.png, which is not there",
        f"{images}/notes.scan: the file is no image of a kind that is read ({', '.join(FORMATS)})",
        f"{images}/pipe.png: it is neither a file nor a folder",
        f"Error: {images}: expected at most 0 files that cannot be read (--max-bad), got 4; {out} holds the other 5",
    ]
    assert len(out.read_text().splitlines()) == 6
    predict(digits_run, images, "--max-bad", "3", code=1)
    assert len(predict(digits_run, images, "--max-bad", "4")) == 5


def test_predictions_written_among_the_images_are_no_image(digits_run, images):
    for _ in range(2):
        assert len(predict(digits_run, images, out=images / "predictions.csv")) == 5


def test_an_image_with_one_pixel_column_is_labelled(digits_run, tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((40, 1), dtype=np.uint8)).save(tmp_path / "images/a.png")
    assert len(predict(digits_run, tmp_path / "images")) == 1


def test_a_folder_without_an_image_and_a_missing_model_are_one_line_and_write_nothing(digits_run, images, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.png").write_bytes(b"")
    for folder, message in (
        ("empty", "expected images, found none"),
        ("gone", "expected a folder, found none"),
        ("bad", "expected images, none of the 1 files can be read"),
    ):
        says = predict(digits_run, tmp_path / folder, "--max-bad", "9", code=1)
        assert says[-1] == f"Error: {tmp_path / folder}: {message}"
    says = predict(tmp_path, images, code=1)
    missing = "expected a safetensors file, found none; go to the folder of a run"
    assert says == [f"Error: {tmp_path}/train/model.safetensors: {missing}"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "empty", "images"]
