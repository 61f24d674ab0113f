"""Real runs side by side: the table, the page in a browser, what is not comparable, and a revision of a run."""

import csv
import json
import os
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.artifacts.labels import Labels
from stages.compare import main as compare
from stages.evaluate import main as evaluate
from tests.browser import DESK, PHONE, opened, scrolls_sideways, serious_faults
from tests.imports import ROOT

OTHER = 'other <b>&"'
TEST, METRICS = "data/evaluate/predictions.csv", "data/evaluate/metrics.json"


@pytest.fixture(scope="module")
def made(digits_run, tmp_path_factory):
    """Two runs in one folder. The other has half as many labels, and six test images wrong that this one has right."""
    home = tmp_path_factory.mktemp("runs")
    shutil.copytree(digits_run, home / "this/data")
    shutil.copy(ROOT / "params.yaml", home / "this")
    with chdir(home / "this"):
        done = CliRunner().invoke(evaluate, [])
    assert done.exit_code == 0, done.output
    shutil.copytree(home / "this", home / OTHER)
    rewrite(home / OTHER, wrong(6))
    halve(home / OTHER)
    return home


@pytest.fixture(autouse=True)
def _here(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "runs")
    monkeypatch.chdir(tmp_path / "runs")


def rewrite(run, change, file=TEST):
    """Changes the rows of a table of a run."""
    with (run / file).open(newline="") as table:
        rows = list(csv.reader(table))
    with (run / file).open("w", newline="") as table:
        csv.writer(table, lineterminator="\n").writerows([rows[0], *change(rows[1:])])


def wrong(count):
    def change(rows):
        right = [row for row in rows if row[1] == row[2]][:count]
        for row in right:
            row[2] = "one" if row[1] != "one" else "two"
        return rows

    return change


def halve(run):
    labels = Labels.read(run / "data/label/labels.csv")
    kept = [*labels.rows][: len(labels.rows) // 2]
    Labels(labels.levels, {key: labels.rows[key] for key in kept}).write(run / "data/label/labels.csv")
    metrics = json.loads((run / METRICS).read_text())
    (run / METRICS).write_text(json.dumps({**metrics, "n_labels": len(kept)}))


def said(*names, code=0):
    done = CliRunner().invoke(compare, [*names, "--out", "page.html"])
    assert done.exit_code == code, done.output
    return done.stderr.removeprefix("Error: ").strip() if code else done.stdout


def test_the_table_says_how_good_first_and_what_is_paired_last():
    text = said("this", OTHER).splitlines()
    names = [
        "right on test images",
        "estimate from the labels",
        "labels",
        "classes with a label",
        "chosen by, trained by",
        "seen by",
        "gain over random picks",
    ]
    assert [line[:26].strip() for line in text[1:8]] == names
    assert "small_resnet, 8 x 8" in text[6]
    assert text[-2].startswith(f"{OTHER} beside this: -6.0 points (")
    assert text[-2].endswith(f"p = 0.031: of 100 test images 0 are right in {OTHER} alone, 6 in this alone")


def test_a_test_an_audit_and_an_estimate_stand_in_rows_of_their_own():
    counted = {
        "n_audit": 40,
        "n_audit_asked": 40,
        "audit_top1": 0.75,
        "audit_top1_low": 0.588,
        "audit_top1_high": 0.873,
    }
    metrics = json.loads((Path(OTHER) / METRICS).read_text())
    values = {name: value for name, value in metrics.items() if not name.startswith("top1")}
    for more, there in ((counted, "75.0 % (58.8 % to 87.3 %) of 40"), ({"n_labels": 50}, "")):
        (Path(OTHER) / METRICS).write_text(json.dumps({**values, **more}))
        head, test, *rest = said("this", OTHER).splitlines()
        at = head.index(OTHER)
        audit = [line[at:] for line in rest if line.startswith("right on an audit")]
        assert test[:at].startswith(f"right on test images         {100 * metrics['top1']:.1f} % (")
        assert (test[at:], audit) == ("", [there] if there else [])
        estimate = next(line[at:] for line in rest if line.startswith("estimate from the labels"))
        assert estimate.startswith("at least" if there else f"{100 * metrics['estimated_top1']:.0f} % (")
        assert estimate.endswith(" of the graph, not of this model")
        assert ('class="mark estimate"' in Path("page.html").read_text()) == (not there)


def test_the_page_reads_well_on_desk_and_phone(browser):
    said("this", OTHER)
    for size in (DESK, PHONE):
        with opened(browser, Path("page.html").resolve().as_uri(), size) as page:
            assert serious_faults(page) == []
            assert not scrolls_sideways(page)
            assert page.locator("h3").nth(1).inner_text().startswith(f"B {OTHER}: the first picks of")
            assert page.locator("svg .mark").count() == 2
            assert page.locator("img").count() == 48


@pytest.mark.parametrize(
    ("change", "file", "why"),
    [
        (lambda rows: rows[1:], TEST, "other test images: 100 and 99, 99 of them in both"),
        (lambda rows: [[rows[0][0], "nine" if rows[0][1] != "nine" else "six", *rows[0][2:]], *rows[1:]], TEST,
         "1 test images have other answers"),
        (lambda rows: [[row[0], "", *row[2:]] for row in rows], TEST,
         "no image has an answer in both; set the same label.audit in both, dvc repro, and label these images"),
    ],
)  # fmt: skip
def test_runs_that_are_judged_by_other_images_are_not_paired(change, file, why):
    rewrite(Path(OTHER), change, file)
    for run, last in (("this", "two"), (OTHER, "six")):
        guesses = f"key,prediction,confidence\nkey1,one,0.9\nkey2,{last},0.5\n"
        Path(run, "data/train/pseudo_labels.csv").write_text(guesses)
    beside = "; of 2 images without a label they name another class for 1"
    assert f"{OTHER} beside this: not comparable: {why}{beside}\n" in said("this", OTHER)


def test_a_picture_that_was_replaced_is_another_image():
    for run, digest in ((Path("this"), "a" * 20), (Path(OTHER), "b" * 20)):
        rewrite(run, lambda rows, digest=digest: [[*row[:2], digest] for row in rows], "data/ingest/sources.csv")
    assert "not comparable: 100 test images of the same name are other pictures" in said("this", OTHER)


def test_an_audit_pairs_runs_without_test_answers():
    for run in (Path("this"), Path(OTHER)):
        rewrite(run, lambda rows: [[row[0], "", *row[2:]] for row in rows], TEST)
        (run / "data/label/audit.csv").write_text("key,label\nx1,one\nx2,two\nx3,two\n")
        second = "two" if run.name == "this" else "one"
        table = f"key,prediction,confidence\nx1,one,0.9\nx2,{second},0.9\nx3,one,0.9\n"
        (run / "data/train/pseudo_labels.csv").write_text(table)
    assert "of 3 images of the audit 0 are right in" in said("this", OTHER)


def test_what_is_no_run_is_refused():
    assert said("this", code=1) == "expected 2 to 26 runs to compare, got 1"
    assert said("this", "gone", code=1).startswith("gone: expected a finished run, found no data/evaluate/metrics.json")
    assert said("this", "gone@main", code=1) == "gone: expected a run's folder, found none"
    assert not Path("page.html").exists()


def test_a_revision_of_a_run_is_read_without_a_checkout():
    home = Path("this")
    before = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for command in (
        *(("git", "init", "-q"), ("dvc", "init", "-q"), ("git", "add", "data"), ("git", *who, "commit", "-qm", "run")),
        ("git", "tag", "before"),
    ):
        subprocess.run(command, cwd=home, env=before, check=True, capture_output=True)
    rewrite(home, wrong(4))
    assert "of 100 test images 0 are right in this alone, 4 in this@before alone" in said("this@before", "this")
    assert "<img" in Path("page.html").read_text()
    assert said("this@nope", "this", code=1).startswith("this@nope: expected a run's experiment or revision, got:")
