"""What is measured of a run where all, some or none of the answers are known."""

import numpy as np
import pytest
from scipy.stats import binomtest

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.predictions import PseudoLabels, Ranking
from pipeline.base.errors import ArtifactError
from pipeline.evaluate.accuracy import calibration
from pipeline.evaluate.headline import headline
from pipeline.evaluate.metrics import EvaluateParams, absent, gather, of_audit, with_answers
from pipeline.evaluate.predict import SplitPredictions
from pipeline.evaluate.probes import random_draws
from pipeline.label.chain import RIGHT

PARAMS = EvaluateParams(neighbours=5, random_draws=4, batch_size=100)
OF_MODEL = {"n_test_answered", "top1", "top1_low", "top1_high", "macro_f1", "ece", "probe_top1"}
OF_DRAWS = {"random_probe_top1_mean", "random_probe_top1_std", "random_probe_classes_covered_mean"}
OF_RANDOM = ["random_propagate_top1_mean", "random_propagate_top1_std"]
ALWAYS = {"n_train", "n_test", "n_labels", "classes_covered", "classes_unreached", "label_balance", "mean_confidence"}


@pytest.fixture
def run():
    """60 training and 20 test images of three classes; six labels of two; the model is right in three of four."""
    g = np.random.default_rng(5)
    centre, y = g.normal(size=(3, 4)), np.arange(80) % 3
    x = centre[y] + 0.3 * g.normal(size=(80, 4))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    names = [("ant", "bee", "cat")[i] for i in y]
    train, test = (
        Embeddings([f"{c}{i:02}" for i in range(len(own))], own) for c, own in (("a", x[:60]), ("b", x[60:]))
    )
    predictions = [name if i % 4 else "ant" for i, name in enumerate(names[60:])]
    return {
        "split": SplitPredictions(
            test.keys, {"label": Ranking([[name] for name in predictions], np.linspace(0.4, 0.99, 20)[:, None] ** 3)}
        ),
        "labels": Labels(["label"], {f"a{i:02}": [names[i]] for i in range(9) if names[i] != "cat"}),
        "answers": Labels(["label"], {key: [name] for key, name in zip([*train.keys, *test.keys], names, strict=True)}),
        "classes_without_label": ["cat"],
        "train": train,
        "test": test,
        "params": PARAMS,
        "seed": 0,
    }


def only(run, table, keep):
    """The run with those rows of a table whose key and names are kept."""
    rows = {key: names for key, names in run[table].rows.items() if keep(key, names)}
    return {**run, table: Labels(["label"], rows)}


def answers_of(run):
    p = with_answers(run["split"], run["answers"])
    return np.array(p.answers), np.array(p.predictions), p.confidence


def test_all_answers_give_all_metrics(run):
    found = gather(**run)
    values = found.values
    assert set(values) == ALWAYS | OF_MODEL | OF_DRAWS | {"knn_top1", "classes_total"}
    assert [name for _, names in absent(values) for name in names] == ["propagate_top1", *OF_RANDOM]
    answers, predictions, confidence = answers_of(run)
    assert values["top1"] == np.mean(answers == predictions)
    assert values["ece"] == pytest.approx(calibration(confidence, answers == predictions).ece)
    counts = [values[name] for name in ("n_labels", "classes_covered", "classes_total", "classes_unreached")]
    assert counts == [6, 2, 3, 1]
    shares = [draw.top1 for draw in found.draws]
    assert len(shares) == 4
    assert values["random_probe_top1_mean"] == pytest.approx(np.mean(shares))
    assert values["random_probe_top1_std"] == pytest.approx(np.std(shares, ddof=1))


def test_probes_learn_from_labels_neighbours_and_draws_from_answers(run):
    """The probe on the picks cannot say "cat", so of well-parted classes it finds just the other two."""
    answers, _, _ = answers_of(run)
    found = gather(**run)
    assert found.values["probe_top1"] == np.mean(answers != "cat") < 1
    assert found.values["knn_top1"] == 1
    no_cats = only(run, "answers", lambda key, names: key[0] == "b" or names != ["cat"])
    assert gather(**no_cats).values["knn_top1"] == np.mean(answers != "cat")
    x, queries, y = run["train"].vectors, run["test"].vectors, np.arange(80) % 3
    assert found.draws == random_draws(x, y[:60], queries, y[60:], size=6, draws=4, seed=0)


DRAWS = "they need answers for test images, and for at least as many training images as were labelled"
REASONS = [
    (
        "no test image has an answer",
        ["top1", "top1_low", "top1_high", "macro_f1", "ece", "n_test_answered", "probe_top1", "propagate_top1"],
    ),
    ("it needs answers for test images and for training images", ["knn_top1"]),
    (DRAWS, ["random_probe_top1_mean", "random_probe_top1_std", "random_probe_classes_covered_mean"]),
    (f"{DRAWS}, but no more than 200,000", OF_RANDOM),
    (
        "no image was labelled for an audit (label.audit)",
        ["n_audit", "n_audit_asked", "audit_top1", "audit_top1_low", "audit_top1_high"],
    ),
]


def test_no_answers_leave_only_what_can_be_known(run):
    found = gather(**only(run, "answers", lambda *_: False))
    assert set(found.values) == ALWAYS
    assert found.draws == []
    names = [name for _, names in REASONS for name in names]
    assert absent(found.values) == [("no image has an answer", [*names, "classes_total"])]


def test_answers_of_training_images_alone_leave_several_reasons(run):
    assert absent(gather(**only(run, "answers", lambda key, _: key[0] == "a")).values) == REASONS


@pytest.mark.parametrize(
    ("keep", "known"),
    [
        (lambda key, _: key[0] == "b", OF_MODEL),  # no draws and no neighbours
        (lambda key, _: key[0] == "b" or key < "a05", OF_MODEL | {"knn_top1"}),  # fewer than labels: no draws
        (lambda key, _: key[0] == "a", set()),
    ],
)
def test_answers_for_a_part_of_the_images_leave_what_can_be_known(run, keep, known):
    assert set(gather(**only(run, "answers", keep)).values) == ALWAYS | {"classes_total"} | known


def test_a_part_of_the_test_images_is_measured_on_that_part(run):
    found = gather(**only(run, "answers", lambda key, _: key[0] == "a" or key < "b05")).values
    answers, predictions, _ = answers_of(run)
    assert (found["n_test_answered"], found["n_test"]) == (5, 20)
    assert found["top1"] == np.mean(answers[:5] == predictions[:5])


def test_empty_finest_labels_are_no_labels(run):
    rows = {key: (["", "insect"] if key == "a00" else [*names, "animal"]) for key, names in run["labels"].rows.items()}
    assert gather(**{**run, "labels": Labels(["label", "kind"], rows)}).values["n_labels"] == 5


def test_labels_of_one_class_are_no_accident(run):
    found = gather(**only(run, "labels", lambda _, names: names == ["bee"])).values
    assert found["probe_top1"] == np.mean(answers_of(run)[0] == "bee")
    assert (found["classes_covered"], found["label_balance"]) == (1, 1.0)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": Labels(["label"], {})}, "labels.csv: expected at least one label, got none"),
        ({"labels": Labels(["label"], {"zz": ["ant"], "a00": ["ant"]})},
         "labels.csv: key zz: expected an embedded training image, found none of that key"),
        ({"test": Embeddings([f"b{i:02}" for i in range(7)], np.eye(7, 4, dtype=np.float32))},
         "embed/test: expected vectors of the 20 test images, got 7, 7 of them the same; "
         "`dvc repro -f embed` makes them anew"),
    ],
)  # fmt: skip
def test_refusals(run, changes, says):
    with pytest.raises(ArtifactError) as refused:
        gather(**{**run, **changes})
    assert str(refused.value) == says


def test_an_audit_is_the_accuracy_of_the_pseudo_labels_on_its_images():
    """One of four is wrong, and one has no prediction; the interval is that of scipy's exact test."""
    guessed = PseudoLabels([*"abcdef"], Ranking([["ant"], ["bee"], [], ["bee"], ["cat"], ["cat"]], np.ones((6, 1))))
    audit = {"a": ["ant"], "b": ["ant"], "c": ["ant"], "d": ["bee"], "e": [""]}
    found = of_audit(Labels(["label"], audit), guessed)
    exact = binomtest(2, 4).proportion_ci(method="exact")
    assert (found["n_audit"], found["n_audit_asked"], found["audit_top1"]) == (4, 5, 0.5)
    assert (found["audit_top1_if_wrong"], found["audit_top1_if_right"]) == (2 / 5, 3 / 5)
    assert (found["audit_top1_low"], found["audit_top1_high"]) == pytest.approx((exact.low, exact.high))
    assert of_audit(Labels(["label"], {}), guessed) == of_audit(Labels(["label"], audit), None) == {}


MEASURED = {"top1": 0.9, "top1_low": 0.8, "top1_high": 0.95}
AUDITED = {"n_audit": 50, "audit_top1": 0.7, "audit_top1_low": 0.6, "audit_top1_high": 0.8}
ESTIMATED = {
    "estimated_top1": 0.75,
    "estimated_top1_low": 0.65,
    "estimated_top1_high": 0.85,
    "estimated_top1_at_least": 0.5,
}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({**MEASURED, "n_test_answered": 30, **AUDITED, **ESTIMATED, "n_labels": 10},
         "90.0% of 30 test images are right (95 %: 80.0% to 95.0%)"),
        ({**MEASURED, "n_test_answered": 29, **AUDITED, **ESTIMATED, "n_labels": 10},
         "70.0% of the unlabelled images are right, by an audit of 50 (95 %: 60.0% to 80.0%)"),
        ({**MEASURED, "n_test_answered": 29, **AUDITED, "n_audit_asked": 80, **ESTIMATED},
         "70.0% of the unlabelled images are right, by an audit of 50, 80 asked (95 %: 60.0% to 80.0%)"),
        ({**MEASURED, "n_test_answered": 29, **AUDITED, "n_audit": 29, **ESTIMATED, "n_labels": 40},
         "75.0% of the images are right, by an estimate from the labels (95 %: 65.0% to 85.0%)"),
        ({**ESTIMATED, "n_labels": 39}, "probably at least 50% of the images are right, by an estimate"),
    ],
)  # fmt: skip
def test_the_headline_is_measured_where_it_can_be(values, says):
    assert headline(values, "propagate") == says
    other = headline(values, "linear")
    assert other == (
        f"linear is not measured; with the labels spread over the graph {says}" if "estimate" in says else says
    )
    assert RIGHT.search(says)  # the label page shows it
    assert RIGHT.search(other)
