"""docs/guide/tutorial.md, every command in it, by a person who labels in a real browser; and what `make` refuses."""

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.base.files import read_json
from tests.browser import launched, opened
from tests.imports import ROOT
from tests.tutorial_pictures import ANSWERS, COUNT

pytestmark = pytest.mark.slow
TUTORIAL = (ROOT / "docs/guide/tutorial.md").read_text(encoding="utf-8")
SECONDS = 200  # for the chain to go on, at most


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def commands(run: Path, pictures: Path) -> list[str]:
    """The blocks of the tutorial, for this run and these pictures, in the environment that runs this test."""
    ready = f"make -o '{Path(sys.prefix) / 'ready'}' VENV='{sys.prefix}'"
    found = []
    for block in re.findall(r"```sh\n(.*?)```", TUTORIAL, re.DOTALL):
        text = re.sub(r"(\.\./\.\./)?\.venv", sys.prefix, block)
        text = text.replace("runs/tutorial", f"'{run}'").replace("IMAGES=pictures", f"IMAGES='{pictures}'")
        text = re.sub(r"(--images ../../|tutorial_pictures )pictures", rf"\1'{pictures}'", text).replace("../../'", "'")
        found += [line.strip() for line in text.replace("make ", f"{ready} ").splitlines() if line.strip()]
    return found


def environment() -> dict[str, str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    env.pop("PYTHONPATH", None)
    return env


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )


def label(command: str) -> str:
    """Labels what the page asks for by keys, finishes, and gives what the report says first."""
    server = subprocess.Popen(
        ["bash", "-c", command], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        url = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+/", line)))
        with launched() as browser, opened(browser, url, allowed=url) as page:
            page.wait_for_selector("#chips", state="attached")
            while " left" in page.inner_text("#count"):
                name = str(ANSWERS[int(re.search(r"(\d+)\.png", page.inner_text("#name"))[1])])
                chip = page.locator("#chips button", has_text=re.compile(rf"\b{name}\b"))
                if chip.count():
                    page.keyboard.press("Enter" if "guess" in chip.first.inner_text() else name)
                else:
                    page.keyboard.press("n")
                    page.keyboard.type(name)
                    page.keyboard.press("Enter")
            page.click("#save")
            page.click("#progress a", timeout=1000 * SECONDS)
            return page.inner_text("h1")
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.communicate()


@pytest.mark.timeout(900)
def test_the_tutorial(tmp_path):
    run, pictures = tmp_path / "a run", tmp_path / "my pictures"
    setup, draw, images, first, another, second, *use = commands(run, pictures)
    assert shell(f"{setup}\n{draw}").returncode == 0
    stopped = shell(images)
    assert stopped.returncode == 0, stopped.stderr
    assert f"{COUNT} images in grey, as a rule 48 pixels long" in stopped.stdout
    assert re.search(r"about \d+ (s|min) to the page that asks for labels: params \d+ s, ingest ", stopped.stdout)
    assert stopped.stdout.endswith(
        f"Label the images with: make label RUN='{run}'\nor open {run}/data/label/page.html, save labels.csv into "
        f"{run}/data/annotations, then: make images RUN='{run}'\n"
    )
    assert "error" not in (stopped.stdout + stopped.stderr).lower()
    assert len(rows(run / "data/annotations/template.csv")) == 30

    assert label(first).startswith("With 30 labels spread over the graph, probably at least")
    metrics = read_json(run / "data/evaluate/metrics.json")
    assert metrics["n_labels"] == 30
    every = rows(run / "data/report/predictions.csv")
    assert sorted(row["path"] for row in every) == sorted(file.name for file in pictures.iterdir())
    assert metrics["estimated_top1_low"] <= share_right(every) <= metrics["estimated_top1_high"]

    going_on = shell(another)
    assert going_on.returncode == 0, going_on.stderr
    assert "round 0: 30 labels are kept in data/rounds/00/labels.csv" in going_on.stdout
    assert "select.method was auto and is uherding now" in going_on.stdout
    assert label(second).startswith("With 50 labels spread over the graph, about")
    assert share_right(rows(run / "data/report/predictions.csv")) > max(0.75, share_right(every))
    assert [row["how"] for row in rows(run / "data/annotations/labels.csv")].count("guess") > 10

    used = shell("\n".join(["set -e", *use]))
    assert used.returncode == 0, used.stderr
    assert {row["status"] for row in rows(run / "classes.csv")} <= {"predicted", "unsure"}
    assert len(rows(run / "classes.csv")) == COUNT
    assert (run / "model.onnx").stat().st_size > 1e6


def share_right(every: list[dict[str, str]]) -> float:
    """Of the images without a label."""
    right = [row["class"] == str(ANSWERS[int(row["path"][:4])]) for row in every if row["status"] != "labelled"]
    return sum(right) / len(right)


def make(target: str, *variables: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-o", str(Path(sys.prefix) / "ready"), target, f"VENV={sys.prefix}", *variables]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("target", "variables", "message"),
    [
        ("images", ["IMAGES=none"], "expected IMAGES=/a/folder/of/pictures, got 'none': no such folder"),
        ("images", [], "expected IMAGES=/a/folder/of/pictures, got ''"),
        ("images", ["IMAGES=tests", "BUDGET=0"], "expected BUDGET=60, a number of labels, got '0'"),
        ("images", ["IMAGES=tests", "BUDGET=many"], "expected BUDGET=60, a number of labels, got 'many'"),
        ("label", [], "make label: expected RUN=a/run, got"),
        ("round", ["RUN=.", "BUDGET=0"], "make round: expected BUDGET=60, a number of labels, got '0'"),
        ("round", [], "expected RUN=a/run, got"),
    ],
)
def test_what_is_asked_for_is_checked_before_anything_is_laid_out(tmp_path, target, variables, message):
    done = make(target, f"RUN={tmp_path / 'run'}", *variables)
    assert done.returncode != 0
    assert message in done.stdout
    assert not (tmp_path / "run").exists()


def test_a_checkout_without_git_is_told_before_dvc_fails(tmp_path):
    command = ["make", "-f", str(ROOT / "Makefile"), "demo"]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "make demo: expected a git repository, which DVC needs here, got none: git init, or " in done.stdout
    assert not [*tmp_path.iterdir()]
