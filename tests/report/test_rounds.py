"""Rounds side by side: what `keep_round` keeps of the metrics, and what the page makes of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.predictions import PseudoLabels, Ranking
from pipeline.artifacts.shards import Index
from pipeline.base.errors import ArtifactError
from pipeline.report.rounds import compared
from stages.evaluate import main as evaluate
from stages.keep_round import main as keep_round
from stages.report import main as report
from tests.browser import opened
from tests.commands import refusal
from tests.digits_tree import relabel


def call(main, *sets):
    return CliRunner().invoke(main, [word for item in sets for word in ("--set", item)])


def evaluated(data: Path, rows):
    """The run with these labels, as `dvc repro` would leave it."""
    relabel(data, rows)
    assert call(evaluate, "evaluate.random_draws=2").exit_code == 0


def test_a_round_keeps_its_metrics_and_the_page_compares_them(run):
    rows = dict(Labels.read(run / "label/labels.csv").rows)
    picks = Selection.read(run / "select/picks.csv")
    first = dict(list(rows.items())[:20])
    evaluated(run, first)
    measured = json.loads((run / "evaluate/metrics.json").read_text())
    Selection(list(first), picks.scores[:20]).write(run / "select/picks.csv")
    assert call(keep_round).exit_code == 0
    assert json.loads((run / "rounds/00/metrics.json").read_text()) == measured
    assert {path.name for path in (run / "rounds/00").iterdir()} == {"labels.csv", "metrics.json"}
    picks.write(run / "select/picks.csv")
    evaluated(run, rows)
    before, now = compared(run / "rounds", {key: names[0] for key, names in rows.items()}, measured)
    assert (before.name, before.labels, before.figure.kind) == ("round 0", 20, "test")
    assert (before.figure.share, before.figure.low, before.figure.high) == tuple(
        measured[name] for name in ("top1", "top1_low", "top1_high")
    )
    assert (now.name, now.labels) == ("now", len(rows))
    assert call(report, "report.map=none").exit_code == 0
    page = (run / "report/index.html").read_text()
    assert "Round by round" in page
    assert f'<th scope="row">round 0</th><td class="n">20</td><td class="n">{100 * measured["top1"]:.1f}' in page
    assert "may be too low" not in page
    for file in (run / "rounds/00/metrics.json", run / "evaluate/metrics.json"):
        known = {name: value for name, value in json.loads(file.read_text()).items() if name != "top1"}
        file.write_text(json.dumps({**known, "n_confirmed": 7}))
    assert call(report, "report.map=none").exit_code == 0
    page = (run / "report/index.html").read_text()
    assert "so an estimate with their labels may be too low" in page
    assert "7 of the labels were confirmed many at once." in page


def test_metrics_of_other_labels_are_not_kept_and_a_round_may_have_none(run):
    rows = dict(Labels.read(run / "label/labels.csv").rows)
    evaluated(run, rows)
    values = json.loads((run / "evaluate/metrics.json").read_text())
    (run / "evaluate/metrics.json").write_text(json.dumps({**values, "n_labels": 7}))
    says = f"expected metrics of the {len(rows)} labels, got those of 7; `dvc repro` first"
    assert says in refusal(call(keep_round))
    assert not (run / "rounds").exists()
    (run / "evaluate/metrics.json").unlink()
    assert call(keep_round).exit_code == 0
    assert {path.name for path in (run / "rounds/00").iterdir()} == {"labels.csv"}
    label = {key: names[0] for key, names in rows.items()}
    assert [(one.name, one.labels, one.figure) for one in compared(run / "rounds", label, values)] == [
        ("round 0", len(rows), None)
    ]
    (run / "rounds/00/metrics.json").write_text('{"top1": 0.5}')
    with pytest.raises(ArtifactError, match=r"00/metrics\.json: expected the metrics of a round"):
        compared(run / "rounds", label, values)


def test_what_is_predicted_otherwise_than_in_the_last_round_is_shown(run, browser):
    """In round 0 there were twenty labels; ten images are labelled since, and of those without a label 30 changed."""
    rows, picks = dict(Labels.read(run / "label/labels.csv").rows), Selection.read(run / "select/picks.csv")
    keys = Index.read(run / "ingest/index.parquet", "train").key

    def predicted(labelled, changed):
        free = [key for key in (*(k for k in keys if k not in rows), *rows) if key not in labelled]
        names = [["two"]] * changed + [["one"]] * (len(free) - changed)
        PseudoLabels(free, Ranking(names, np.linspace([0.9], [0.6], len(free)))).write(run / "train/pseudo_labels.csv")

    first = dict(list(rows.items())[:20])
    predicted(first, 0)
    evaluated(run, first)
    Selection(list(first), picks.scores[:20]).write(run / "select/picks.csv")
    assert call(keep_round).exit_code == 0
    assert call(report, "report.map=none").exit_code == 0
    assert "What changed" not in (run / "report/index.html").read_text()
    picks.write(run / "select/picks.csv")
    predicted(rows, 30)
    evaluated(run, rows)
    assert call(report, "report.map=none").exit_code == 0
    page = (run / "report/index.html").read_text()
    assert "What changed since round 0" in page
    assert f"30 of {len(keys) - len(rows)} images are predicted to be of another class than then" in page
    assert page.count("was one, now two") == 24
    assert page.index("confidence 90.0") < page.index("confidence 88.")
    with opened(browser, (run / "report/gallery.html").absolute().as_uri()) as gallery:
        gallery.select_option("#which", "changed")
        assert gallery.inner_text("#count").startswith("30 images")
        assert gallery.locator("li").first.inner_text().split("\n")[:2] == ["two", "was one"]
