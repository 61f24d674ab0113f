"""`make images` on photographs of one's own: it stops where labels are needed, and goes on when they are there."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from pipeline.base import rng
from pipeline.base.files import read_json
from tests.imports import ROOT

pytestmark = pytest.mark.slow
NAMES = ("palace", "flower")


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def make(run: Path, *variables: str) -> subprocess.CompletedProcess[str]:
    """`make images`, in the environment that runs this test."""
    ready = Path(sys.prefix) / "ready"
    command = ["make", "-o", str(ready), "images", f"VENV={sys.prefix}", f"RUN={run}", *variables]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    env.pop("PYTHONPATH", None)
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_the_walk_from_a_folder_of_photographs_to_the_page(tmp_path):
    images, run = tmp_path / "my pictures", tmp_path / "run"
    images.mkdir()
    chance = rng.stream(0, "walk")
    for name, photo in zip(NAMES, load_sample_images().images, strict=True):
        for i in range(30):
            top, left = chance.integers(0, 300, 2)
            Image.fromarray(photo[top : top + 110, left : left + 120]).save(images / f"{name}-{i}.png")

    stopped = make(run, f"IMAGES={images}", "BUDGET=8")
    assert stopped.returncode == 0, stopped.stderr
    assert "60 images in colour, as a rule 120 pixels long" in stopped.stdout
    assert re.search(
        r"about \d+ (s|min) to the page that asks for labels: params \d+ s, ingest \d+ s, ", stopped.stdout
    )
    assert (
        f"Label the images with: make label RUN='{run}'\nor open {run}/data/label/page.html, save labels.csv into "
        f"{run}/data/annotations, then: make images RUN='{run}'\n" in stopped.stdout
    )
    params = (run / "params.yaml").read_text(encoding="utf-8")
    (run / "params.yaml").write_text(params.replace("size: 160", "size: huge"), encoding="utf-8")
    failed = make(run)
    assert failed.returncode != 0
    assert "make label" not in failed.stdout
    (run / "params.yaml").write_text(params, encoding="utf-8")
    asked = rows(run / "data/annotations/template.csv")
    assert len(asked) == 8
    with (run / "data/annotations/labels.csv").open("w") as file:
        table = csv.writer(file)
        table.writerows([("key", "label"), *((row["key"], row["path"].split("-")[0]) for row in asked)])

    done = make(run)
    assert done.returncode == 0, done.stderr
    assert f"the page: {run}/data/report/index.html" in done.stdout
    assert (run / "data/report/index.html").is_file()
    metrics = read_json(run / "data/evaluate/metrics.json")
    assert metrics["n_labels"] == 8
    every = rows(run / "data/report/predictions.csv")
    assert sorted(row["path"] for row in every) == sorted(file.name for file in images.iterdir())
    right = [row["path"].startswith(row["class"]) for row in every if row["status"] != "labelled"]
    assert len(right) == 52
    assert sum(right) / len(right) > 0.8
    assert metrics["estimated_top1_low"] <= sum(right) / len(right)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (["IMAGES=none"], "expected IMAGES=/a/folder/of/pictures, got 'none'"),
        ([], "expected IMAGES=/a/folder/of/pictures, got ''"),
        (["IMAGES=tests", "BUDGET=0"], "expected BUDGET=60, a number of labels, got '0'"),
        (["IMAGES=tests", "BUDGET=many"], "expected BUDGET=60, a number of labels, got 'many'"),
    ],
)
def test_what_is_asked_for_is_checked_before_anything_is_laid_out(tmp_path, variables, message):
    done = make(tmp_path / "run", *variables)
    assert done.returncode != 0
    assert message in done.stdout
    assert not (tmp_path / "run").exists()
