"""Words for laymen, what to do and what to type next, and how long stages took."""

import json

import pytest

from pipeline.base.errors import ArtifactError
from pipeline.evaluate import metrics
from pipeline.report import advice, names
from pipeline.report.times import read_times, spoken


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
        ("test", 40, {}, False, [], [advice.NEXT, advice.PREDICT], "With 40 more about 90"),
        ("test", 20, {}, True, [], ["dvc repro", advice.PREDICT], "choose the next images"),
        ("audit", 40, {}, False, ["cat"], [advice.NEXT, advice.PREDICT], "1 class has no label"),
        ("bound", 20, {}, False, [], ["dvc repro", advice.NEXT, advice.PREDICT], "is not measured"),
        (
            "estimate",
            60,
            {"a": "skipped", "b": "no row", "c": "of no class"},
            False,
            [],
            ["python -m stages.replace_picks && dvc repro", "dvc repro", advice.NEXT, advice.PREDICT],
            "2 picks are skipped, of no class or not usable",
        ),
    ],
)
def test_what_to_type_next_follows_what_is_known(kind, labels, missing, kept, unreached, commands, says):
    values = {"n_labels": labels, "forecast_40_top1": 0.9}
    found = advice.steps(kind, values, missing, kept, unreached, git=False)
    assert [step.command for step in found] == commands
    assert says in found[0].why


def test_images_that_look_like_no_class_are_named_before_more_are_labelled():
    values = {"n_labels": 40, "forecast_40_top1": 0.9, "n_unlike": 1234, "n_audit": 50}
    first = advice.steps("audit", values, {}, False, [], git=False)[0]
    assert (first.command, "1,234 images look like none" in first.why) == (advice.LABEL, True)
    for kind, unlike in (("audit", 0), ("test", 1234)):
        found = advice.steps(kind, {**values, "n_unlike": unlike}, {}, False, [], git=False)
        assert advice.LABEL not in [step.command for step in found]


@pytest.mark.parametrize("kind", ["test", "bound"])
def test_a_person_is_told_that_the_chain_stops_for_labels(kind):
    found = {step.command: step.why for step in advice.steps(kind, {"n_labels": 20}, {}, False, [], git=False)}
    assert found[advice.NEXT].endswith(advice.STOPS) == (kind == "bound")


def test_new_classes_are_named_with_the_next_images():
    values = {"n_labels": 40, "forecast_40_top1": 0.9, "n_new_classes": 1}
    first = advice.steps("test", values, {}, False, ["cat"], git=False)[0]
    assert first.command == advice.NEXT
    assert first.why.startswith("1 new class is without a name.")
    assert (
        advice.steps("test", {**values, "n_new_classes": 3}, {}, False, [], git=False)[0].why[:17]
        == "3 new classes are"
    )


def test_an_audit_is_not_asked_for_twice_and_the_first_line_leads_to_the_run(tmp_path):
    audited = {"n_labels": 20, "n_audit": 12}
    found = advice.steps("bound", audited, {}, False, [], git=True)
    assert [step.command for step in found] == [advice.NEXT, advice.COMPARE, advice.PREDICT]
    assert "audit" not in advice.cures(audited)[metrics.TEST]
    assert "label.audit: 50" in advice.cures({})[metrics.TEST]
    environment = tmp_path / ".venv"
    assert advice.begin(tmp_path / "runs/a b", environment) == ""  # no environment is there
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/activate").touch()
    assert advice.begin(tmp_path / "runs/a b", environment) == "cd 'runs/a b' && source ../../.venv/bin/activate"
    assert advice.begin(tmp_path, environment) == "source .venv/bin/activate"
    assert advice.begin(tmp_path.parent, environment) == ""


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
