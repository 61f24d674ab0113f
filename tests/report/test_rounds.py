"""Rounds side by side: what `keep_round` keeps of the metrics, and what the page makes of it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.picks import Selection
from pipeline.artifacts.predictions import Predictions, PseudoLabels, Ranking
from pipeline.artifacts.shards import Index
from pipeline.base.errors import ArtifactError
from pipeline.base.files import read_json, write_json
from pipeline.report.rounds import compared
from stages.evaluate import main as evaluate
from stages.keep_round import main as keep_round
from stages.report import main as report
from tests.browser import PHONE, opened, scrolls_sideways
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
    assert {path.name for path in (run / "rounds/00").iterdir()} == {"labels.csv", "metrics.json", "params.json"}
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
    assert "No value of pretrain, select or train differs." in page
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
    assert {path.name for path in (run / "rounds/00").iterdir()} == {"labels.csv", "params.json"}
    label = {key: names[0] for key, names in rows.items()}
    assert [(one.name, one.labels, one.figure) for one in compared(run / "rounds", label, values)] == [
        ("round 0", len(rows), None)
    ]
    (run / "rounds/00/metrics.json").write_text('{"top1": 0.5}')
    with pytest.raises(ArtifactError, match=r"00/metrics\.json: expected the metrics of a round"):
        compared(run / "rounds", label, values)


def select_by(run: Path, **values):
    file = run / "select/record.json"
    write_json(file, {**read_json(file), **values})


def test_what_else_is_not_as_it_was_in_the_last_round_stands_on_the_page(run, browser):
    """In round 0 other values, half the labels, and a model that called one image in four of the test nine."""
    rows, picks = dict(Labels.read(run / "label/labels.csv").rows), Selection.read(run / "select/picks.csv")
    first = dict(list(rows.items())[:20])
    evaluated(run, first)
    tested = Predictions.read(run / "evaluate/predictions.csv")
    names = [["nine"] if at % 4 == 0 else [name] for at, name in enumerate(tested.predictions)]
    before = replace(tested, ranking=replace(tested.ranking, names=names))
    before.write(run / "evaluate/predictions.csv")
    Selection(list(first), picks.scores[:20]).write(run / "select/picks.csv")
    select_by(run, seed=3, select={"budget": 20, "max_cost": None}, params={"restarts": 8})
    assert call(keep_round).exit_code == 0
    assert call(report, "report.map=none").exit_code == 0
    assert "What changed" not in (run / "report/index.html").read_text()
    picks.write(run / "select/picks.csv")
    select_by(run, seed=0, method="<b>uherding</b>", select={"budget": 10, "max_cost": True}, params={"steps": 8})
    evaluated(run, rows)
    now = Predictions.read(run / "evaluate/predictions.csv")
    assert call(report, "report.map=none").exit_code == 0

    right = [sum(map(str.__eq__, one.answers, one.predictions)) for one in (before, now)]
    n = len(now.keys)
    with opened(browser, (run / "report/index.html").absolute().as_uri(), PHONE) as page:
        said = " ".join(page.locator("section[aria-labelledby=changed] p").all_inner_texts()).replace("\u202f", " ")
        assert not scrolls_sideways(page)
    assert f"{len(rows)} labels, 20 then." in said
    assert "seed was 3 and is 0 now; select.budget was 20 and is 10 now; " in said
    assert "select.max_cost was null and is true now; " in said
    assert "select.method was kmeans and is <b>uherding</b> now." in said
    assert "restarts" not in said  # a value of another method's block
    shares = [f"{100 * count / n:.1f} %" for count in right]
    assert f"Of the same {n} test images {shares[0]} were right then and {shares[1]} are now: " in said
    assert f": {100 * (right[1] - right[0]) / n:+.1f} points" in said

    Predictions(
        now.keys[1:], now.answers[1:], replace(now.ranking, names=now.ranking.names[1:], p=now.ranking.p[1:])
    ).write(run / "rounds/outputs/predictions.csv")
    (run / "rounds/00/params.json").unlink()
    assert call(report, "report.map=none").exit_code == 0
    page = (run / "report/index.html").read_text()
    assert "Accuracy is not compared: no image has an answer" in page
    assert "Which params that round was made with is not kept." in page


def test_after_a_round_other_values_with_the_same_labels_are_told_and_the_audit_is_compared(run):
    rows = dict(Labels.read(run / "label/labels.csv").rows)
    keys = [key for key in Index.read(run / "ingest/index.parquet", "train").key if key not in rows]

    def found(name):
        ranking = Ranking([[name]] * len(keys), np.full((len(keys), 1), 0.9))
        PseudoLabels(keys, ranking).write(run / "train/pseudo_labels.csv")

    found("one")
    evaluated(run, rows)
    assert call(keep_round).exit_code == 0
    about = read_json(run / "train/model.json")
    write_json(run / "train/model.json", {**about, "params": {"steps": 9}})
    found("two")
    answers = ["one", "two", "two", "three"]
    Labels(["label"], {key: [name] for key, name in zip(keys, answers, strict=False)}).write(run / "label/audit.csv")
    assert call(evaluate, "evaluate.random_draws=2").exit_code == 0
    tested = Predictions.read(run / "evaluate/predictions.csv")
    first, *others = tested.answers  # one answered image of the test says less than four of the audit
    for file in (run / "evaluate/predictions.csv", run / "rounds/outputs/predictions.csv"):
        replace(tested, answers=[first, *("" for _ in others)]).write(file)
    assert call(report, "report.map=none").exit_code == 0
    assert "What changed" not in (run / "report/index.html").read_text()  # a key that the round knew nothing of
    params = read_json(run / "rounds/00/params.json")
    write_json(run / "rounds/00/params.json", {**params, "train.steps": 7})
    network = read_json(run / "pretrain/backbone.json")
    options = {**network["backbone"]["options"], "stem_stride": 2}
    new = {**network, "backbone": {**network["backbone"], "options": options}, "size": [12, 8]}
    write_json(run / "pretrain/backbone.json", new)
    assert call(report, "report.map=none").exit_code == 0
    page = (run / "report/index.html").read_text()
    assert "What changed since round 0" in page
    assert "<code>train.steps</code> was 7 and is 9 now." in page
    assert "<code>pretrain.backbones.small_resnet.stem_stride</code> was 1 and is 2 now;" in page
    assert "<code>ingest.size</code> was 8 and is [12, 8] now;" in page
    assert "Of the same 4 images of the audit 25.0\u202f% were right then and 50.0\u202f% are now: +25.0 points" in page
    assert "2 are right now alone, 1 were then alone" in page


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
