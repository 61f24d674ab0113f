"""The predict command on files of many kinds: what it writes, what it refuses, what it leaves behind."""

import csv
import os

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pipeline.nn.classifier import Classifier
from pipeline.shards.decode import FORMATS
from stages.predict import main
from tests.digits_tree import digit_images


@pytest.fixture
def images(tmp_path):
    """Five scans in two folders, one of them in colour and larger, and a hidden file."""
    folder = tmp_path / "images"
    (folder / "deep/er").mkdir(parents=True)
    (folder / ".hidden").write_text("no image")
    for i, name in enumerate(("b.png", "a.png", "deep/c.png", "deep/er/d.png")):
        Image.fromarray(digit_images()[i]).save(folder / name)
    Image.fromarray(digit_images()[4]).resize((32, 32)).convert("RGB").save(folder / "e.jpg")
    return folder


def predict(run, images, *more):
    out = images.parent / "predictions.csv"
    result = CliRunner().invoke(
        main, ["--images", str(images), "--out", str(out), "--model", str(run / "train"), *more]
    )
    return result, out


def rows(out):
    return list(csv.DictReader(out.read_text().splitlines()))


def test_every_image_gets_the_model_s_class_and_its_probability(digits_run, images):
    result, out = predict(digits_run, images)
    assert result.exit_code == 0, result.output
    assert [row["path"] for row in rows(out)] == ["a.png", "b.png", "deep/c.png", "deep/er/d.png", "e.jpg"]
    model = Classifier.read(digits_run / "train")
    pixels = torch.from_numpy(digit_images()[[1, 0, 2, 3]][:, None])
    sure, said = model.probabilities(pixels, 10)["label"].max(dim=1)
    assert [row["prediction"] for row in rows(out)[:4]] == [model.classes[i] for i in said]
    assert [float(row["confidence"]) for row in rows(out)[:4]] == pytest.approx(sure.tolist(), abs=1e-5)


def test_batches_of_one_give_the_same_classes(digits_run, images):
    _, out = predict(digits_run, images)
    whole = rows(out)
    _, out = predict(digits_run, images, "--batch-size", "1")
    assert [row["prediction"] for row in rows(out)] == [row["prediction"] for row in whole]
    assert [float(row["confidence"]) for row in rows(out)] == pytest.approx([float(row["confidence"]) for row in whole])


def test_bad_images_are_named_and_the_others_labelled(digits_run, images):
    (images / "c.png").write_bytes(b"")
    (images / "notes.txt").write_text("no image")
    (images / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(images / "pipe.png")
    result, out = predict(digits_run, images)
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith((str(images), "Error"))]
    assert lines == [
        f"{images}/c.png: the file has zero bytes",
        f"{images}/gone.png: the file cannot be read: No such file or directory",
        f"{images}/notes.txt: the file is no image of a kind that is read ({', '.join(FORMATS)})",
        f"{images}/pipe.png: it is neither a file nor a folder",
        f"Error: {images}: expected at most 0 files that cannot be read (--max-bad), got 4; {out} holds the other 5",
    ]
    assert len(rows(out)) == 5
    assert predict(digits_run, images, "--max-bad", "3")[0].exit_code == 1
    result, out = predict(digits_run, images, "--max-bad", "4")
    assert result.exit_code == 0


def test_nothing_but_bad_images_writes_nothing(digits_run, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.png").write_bytes(b"")
    result, _ = predict(digits_run, images, "--max-bad", "9")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == f"Error: {images}: expected images, none of the 1 files can be read"
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_predictions_written_among_the_images_are_no_image(digits_run, images):
    out = images / "predictions.csv"
    for _ in range(2):
        result = CliRunner().invoke(
            main, ["--images", str(images), "--out", str(out), "--model", str(digits_run / "train")]
        )
        assert result.exit_code == 0
    assert len(rows(out)) == 5


def test_an_empty_folder_a_missing_one_and_a_missing_model_are_one_line(digits_run, images, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder, message in (("empty", "expected images, found none"), ("gone", "expected a folder, found none")):
        result, out = predict(digits_run, tmp_path / folder)
        assert result.exit_code == 1
        assert result.stderr.splitlines()[-1] == f"Error: {tmp_path / folder}: {message}"
        assert not out.exists()
    result, out = predict(tmp_path, images)
    assert result.exit_code == 1
    assert result.stderr == (f"Error: {tmp_path}/train/model.safetensors: expected a safetensors file, found none\n")


def test_an_image_with_one_pixel_column_is_labelled(digits_run, tmp_path):
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((40, 1), dtype=np.uint8)).save(tmp_path / "images/a.png")
    result, out = predict(digits_run, tmp_path / "images")
    assert result.exit_code == 0, result.output
    assert len(rows(out)) == 1
