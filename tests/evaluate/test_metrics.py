"""What is measured of a run where all, some or none of the answers are known."""

import numpy as np
import pytest

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.base.errors import ArtifactError
from pipeline.evaluate.accuracy import calibration
from pipeline.evaluate.guess import Guesses
from pipeline.evaluate.metrics import EvaluateParams, absent, gather, predicted

PARAMS = EvaluateParams(neighbours=5, random_draws=4, batch_size=100)
OF_MODEL = {"n_test_answered", "top1", "top1_low", "top1_high", "macro_f1", "ece", "probe_top1"}
OF_DRAWS = {"random_probe_top1_mean", "random_probe_top1_std", "random_probe_classes_covered_mean"}
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
        Embeddings([f"a{i:02}" for i in range(60)], x[:60]),
        Embeddings([f"b{i:02}" for i in range(20)], x[60:]),
    )
    said = [name if i % 4 else "ant" for i, name in enumerate(names[60:])]
    return {
        "guesses": Guesses(test.keys, {"label": said}, {"label": np.linspace(0.4, 0.99, 20) ** 3}),
        "labels": Labels(["label"], {f"a{i:02}": [names[i]] for i in range(9) if names[i] != "cat"}),
        "answers": Labels(["label"], {key: [name] for key, name in zip([*train.keys, *test.keys], names, strict=True)}),
        "unreached": ["cat"],
        "train": train,
        "test": test,
        "params": PARAMS,
        "seed": 0,
    }


def keep(run, first_letter):
    rows = {key: names for key, names in run["answers"].rows.items() if key[0] in first_letter}
    return {**run, "answers": Labels(["label"], rows)}


def test_all_answers_give_all_metrics(run):
    found = gather(**run)
    assert set(found.values) == ALWAYS | OF_MODEL | OF_DRAWS | {"knn_top1", "classes_total"}
    assert absent(found.values) == []
    p = predicted(run["guesses"], run["answers"])
    assert found.values["top1"] == np.mean(np.array(p.answers) == np.array(p.predictions))
    right = np.array(p.answers) == np.array(p.predictions)
    assert found.values["ece"] == pytest.approx(calibration(p.confidence, right).ece)
    assert found.values["n_labels"] == 6
    assert (found.values["classes_covered"], found.values["classes_total"], found.values["classes_unreached"]) == (
        2,
        3,
        1,
    )
    shares = [draw.top1 for draw in found.draws]
    assert len(shares) == 4
    assert found.values["random_probe_top1_mean"] == pytest.approx(np.mean(shares))
    assert found.values["random_probe_top1_std"] == pytest.approx(np.std(shares, ddof=1))


def test_a_class_that_no_label_reached_counts_as_wrong(run):
    """The probe on the picks cannot say "cat", so of well-parted classes it finds just the other two."""
    not_cats = np.mean(np.array(predicted(run["guesses"], run["answers"]).answers) != "cat")
    assert gather(**run).values["probe_top1"] == not_cats < 1


def test_no_answers_leave_only_what_can_be_known(run):
    found = gather(**keep(run, ""))
    assert set(found.values) == ALWAYS
    assert found.draws == []
    assert absent(found.values) == [
        (
            "no test image has an answer",
            ["top1", "top1_low", "top1_high", "macro_f1", "ece", "n_test_answered", "probe_top1"],
        ),
        ("it needs answers for test images and for training images", ["knn_top1"]),
        (
            "they need answers for test images, and for at least as many training images as were labelled",
            ["random_probe_top1_mean", "random_probe_top1_std", "random_probe_classes_covered_mean"],
        ),
        ("no image has an answer, so how many classes there are is not known", ["classes_total"]),
    ]


def test_answers_for_test_images_alone_leave_no_draws_and_no_neighbours(run):
    assert set(gather(**keep(run, "b")).values) == ALWAYS | OF_MODEL | {"classes_total"}


def test_answers_for_fewer_training_images_than_labels_leave_no_draws(run):
    rows = {key: names for key, names in run["answers"].rows.items() if key[0] == "b" or key < "a05"}
    found = gather(**{**run, "answers": Labels(["label"], rows)}).values
    assert set(found) == ALWAYS | OF_MODEL | {"classes_total", "knn_top1"}


def test_answers_for_training_images_alone_measure_nothing(run):
    assert set(gather(**keep(run, "a")).values) == ALWAYS | {"classes_total"}


def test_a_part_of_the_test_images_is_measured_on_that_part(run):
    rows = {key: names for key, names in run["answers"].rows.items() if key[0] == "a" or key < "b05"}
    found = gather(**{**run, "answers": Labels(["label"], rows)}).values
    p = predicted(run["guesses"], run["answers"])
    assert found["n_test_answered"] == 5
    assert found["n_test"] == 20
    assert found["top1"] == np.mean(np.array(p.answers[:5]) == np.array(p.predictions[:5]))


def test_empty_finest_labels_are_no_labels(run):
    rows = {key: (["", "insect"] if key == "a00" else [*names, "animal"]) for key, names in run["labels"].rows.items()}
    assert gather(**{**run, "labels": Labels(["label", "kind"], rows)}).values["n_labels"] == 5


def test_labels_of_one_class_are_no_accident(run):
    rows = {key: names for key, names in run["labels"].rows.items() if names == ["bee"]}
    found = gather(**{**run, "labels": Labels(["label"], rows)}).values
    assert found["probe_top1"] == np.mean(np.array(predicted(run["guesses"], run["answers"]).answers) == "bee")
    assert (found["classes_covered"], found["label_balance"]) == (1, 1.0)


def test_refusals(run):
    with pytest.raises(ArtifactError) as refused:
        gather(**{**run, "labels": Labels(["label"], {})})
    assert str(refused.value) == "labels.csv: expected at least one label, got none"
    with pytest.raises(ArtifactError) as refused:
        gather(**{**run, "labels": Labels(["label"], {"zz": ["ant"], "a00": ["ant"]})})
    assert str(refused.value) == "labels.csv: expected keys of embedded training images, got zz"
    with pytest.raises(ArtifactError) as refused:
        gather(**{**run, "test": Embeddings(run["test"].keys[:7], run["test"].vectors[:7])})
    assert str(refused.value) == (
        "embed/test: expected vectors of the 20 test images, got 7, 7 of them the same; "
        "`dvc repro -f embed` makes them anew"
    )
