"""Rounds side by side: what `keep_round` keeps of the metrics, and what the page makes of it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.picks import Selection
from pipeline.base.errors import ArtifactError
from pipeline.report.rounds import compared
from stages.evaluate import main as evaluate
from stages.keep_round import main as keep_round
from stages.report import main as report
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
