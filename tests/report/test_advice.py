"""Words for laymen, what to do and what to type next, and how long stages took."""

import json
import re
import sys

import pytest

from pipeline.base.errors import ArtifactError
from pipeline.base.typed import IN_FOLDER, Typed, begin
from pipeline.evaluate import metrics
from pipeline.report import advice, names
from pipeline.report.times import read_times, spoken
from tests.browser import DESK, PHONE, opened, scrolls_sideways
from tests.imports import ROOT
from tests.report.read_page import page


def test_every_metric_has_words_and_every_reason_a_cure():
    assert {why for why in metrics.NEEDS.values() if why not in advice.CURE} == set()
    for name in (*metrics.NEEDS, "estimated_top1_at_least", "forecast_40_top1_low", "coarse_consistency"):
        assert names.plain(name) != name
    assert names.plain("forecast_40_top1_low") == "with 40 more labels: right: lower end of 95 %"
    assert names.plain("forecast_rain") == "forecast_rain"
    assert names.plainly(["top1", "top1_low", "n_labels"]) == "right on the test images; labels"


@pytest.mark.parametrize(
    ("kind", "labels", "missing", "kept", "unreached", "commands", "says"),
    [
        ("test", 40, {}, False, [], [IN_FOLDER.more, IN_FOLDER.predict], "With 40 more about 90"),
        ("test", 20, {}, True, [], ["dvc repro", IN_FOLDER.predict], "choose the next images"),
        ("audit", 40, {}, False, ["cat"], [IN_FOLDER.more, IN_FOLDER.predict], "1 class has no label"),
        ("bound", 20, {}, False, [], ["dvc repro", IN_FOLDER.more, IN_FOLDER.predict], "is not measured"),
        (
            "estimate",
            60,
            {"a": "skipped", "b": "no row", "c": "of no class"},
            False,
            [],
            [IN_FOLDER.replace, "dvc repro", IN_FOLDER.more, IN_FOLDER.predict],
            "2 picks are skipped, of no class or not usable",
        ),
    ],
)
def test_what_to_type_next_follows_what_is_known(kind, labels, missing, kept, unreached, commands, says):
    values = {"n_labels": labels, "forecast_40_top1": 0.9}
    found = advice.steps(kind, values, missing, kept, unreached, IN_FOLDER, git=False)
    assert [step.command for step in found] == commands
    assert says in found[0].why


def test_images_that_look_like_no_class_are_named_before_more_are_labelled():
    values = {"n_labels": 40, "forecast_40_top1": 0.9, "n_unlike": 1234, "n_audit": 50}
    first = advice.steps("audit", values, {}, False, [], IN_FOLDER, git=False)[0]
    assert (first.command, "1,234 images look like none" in first.why) == (IN_FOLDER.label, True)
    for kind, unlike in (("audit", 0), ("test", 1234)):
        found = advice.steps(kind, {**values, "n_unlike": unlike}, {}, False, [], IN_FOLDER, git=False)
        assert IN_FOLDER.label not in [step.command for step in found]


@pytest.mark.parametrize("kind", ["test", "bound"])
def test_a_person_is_told_that_the_chain_stops_for_labels(kind):
    found = {
        step.command: step.why for step in advice.steps(kind, {"n_labels": 20}, {}, False, [], IN_FOLDER, git=False)
    }
    assert found[IN_FOLDER.more].endswith(IN_FOLDER.stops) == (kind == "bound")


def test_new_classes_are_named_with_the_next_images():
    values = {"n_labels": 40, "forecast_40_top1": 0.9, "n_new_classes": 1}
    first = advice.steps("test", values, {}, False, ["cat"], IN_FOLDER, git=False)[0]
    assert first.command == IN_FOLDER.more
    assert first.why.startswith("1 new class is without a name.")
    assert (
        advice.steps("test", {**values, "n_new_classes": 3}, {}, False, [], IN_FOLDER, git=False)[0].why[:17]
        == "3 new classes are"
    )


def test_an_audit_is_not_asked_for_twice_and_the_first_line_leads_to_the_run(tmp_path):
    audited = {"n_labels": 20, "n_audit": 12}
    found = advice.steps("bound", audited, {}, False, [], IN_FOLDER, git=True)
    assert [step.command for step in found] == [IN_FOLDER.more, IN_FOLDER.compare, IN_FOLDER.predict]
    assert "audit" not in advice.cures(audited, IN_FOLDER)[metrics.TEST]
    assert "label.audit: 50 in params.yaml, dvc repro," in advice.cures({}, IN_FOLDER)[metrics.TEST]
    environment = tmp_path / ".venv"
    assert begin(tmp_path / "runs/a b", environment) == ""  # no environment is there
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/activate").touch()
    assert begin(tmp_path / "runs/a b", environment) == "cd 'runs/a b' && source ../../.venv/bin/activate"
    assert begin(tmp_path, environment) == "source .venv/bin/activate"
    assert begin(tmp_path.parent, environment) == ""


def test_times_are_those_of_the_logs_in_the_order_of_the_chain(tmp_path):
    assert read_times(tmp_path) == []
    about = {"seconds": 88.76, "images_per_second": 865.3, "peak_mb": 516, "device": "cpu"}
    (tmp_path / "train.json").write_text('{"seconds": 1}')
    (tmp_path / "pretrain.json").write_text(json.dumps(about))
    found = read_times(tmp_path)
    assert [(one.stage, one.seconds, one.speed) for one in found] == [("pretrain", 88.76, 865.3), ("train", 1, None)]
    assert [spoken(s) for s in (0.21, 9.97, 42.3, 88.76, 3599.8, 7300)] == [
        "0.2 s", "10.0 s", "42 s", "1 min 29 s", "1 h 0 min", "2 h 2 min",
    ]  # fmt: skip
    (tmp_path / "train.json").write_text('{"seconds": "long"}')
    with pytest.raises(ArtifactError, match=r"train\.json: expected seconds, a number, got long"):
        read_times(tmp_path)


@pytest.mark.parametrize(
    ("run", "which"), [("runs/images", ""), ("runs/a b", " RUN='runs/a b'"), (".", " RUN=."), ("../elsewhere", None)]
)
def test_who_came_by_make_reads_its_targets(tmp_path, run, which):
    checkout, environment = tmp_path / "code", tmp_path / "code/.venv"
    for file in ("Makefile", "stages/images.py", ".venv/bin/activate"):
        (checkout / file).parent.mkdir(parents=True, exist_ok=True)
        (checkout / file).touch()
    typed = Typed.of(checkout / run, environment)
    if which is None:
        assert typed == IN_FOLDER
        return
    values = {"n_labels": 20, "n_unlike": 9}
    found = advice.steps("bound", values, {"a": "skipped"}, False, [], typed, git=True)
    commands = [line for step in found for line in step.command.splitlines()]
    own = [f"make {target}{which}" for target in ("replace", "images", "label", "round BUDGET=40")]
    assert commands[:4] == own
    assert commands[5] == f"make images{which}  # with the other values"
    assert str(tmp_path) not in "".join(commands)
    named = {line.split()[1] for line in commands if line.startswith("make ")}
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert named <= {*targets}
    assert "images" in advice.cures({}, typed)[metrics.AUDIT].split("make ")[1]


def test_the_page_of_a_run_in_the_checkout_names_make_alone_but_for_new_images(browser, data, monkeypatch):
    home = data.resolve().parent
    for file in ("Makefile", "stages/images.py", ".venv/bin/activate"):
        (home / file).parent.mkdir(parents=True, exist_ok=True)
        (home / file).touch()
    monkeypatch.setattr(sys, "prefix", str(home / ".venv"))
    page()
    for size in (DESK, PHONE):
        with opened(browser, (data / "report/index.html").absolute().as_uri(), size) as shown:
            said = shown.locator("section[aria-labelledby=next]").inner_text()
            assert not scrolls_sideways(shown)
    assert "make round BUDGET=40 RUN=." in said
    assert "In the folder where you typed make." in said
    assert "dvc" not in said
    assert re.findall("python -m stages.*", said) == [IN_FOLDER.predict]
