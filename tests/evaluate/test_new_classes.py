"""How well new classes are found: against counts by hand, and what is absent."""

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.artifacts.labels import Labels
from pipeline.artifacts.predictions import Predictions, Ranking
from pipeline.base.files import read_json
from pipeline.evaluate.new_classes import of_new_classes
from pipeline.nn.classifier import Classifier
from stages.evaluate import main


def measured(pairs, new, labelled=("cat", "dog")):
    answers, said = zip(*pairs, strict=True)
    keys = [f"k{i}" for i in range(len(pairs))]
    labels = Labels(["label"], {f"t{i}": [name] for i, name in enumerate(labelled)})
    ranking = Ranking([[name] for name in said], np.ones((len(said), 1)))
    return of_new_classes(Predictions(keys, answers, ranking), labels, new)


def test_each_found_class_stands_for_the_one_that_fits_best():
    cats, owls = [("cat", "cat")] * 3 + [("cat", "new 1")], [("owl", "new 1")] * 4 + [("owl", "dog")]
    found = measured([*cats, *owls, ("dog", "dog"), ("", "new 2")], ["new 1", "new 2"])
    assert found == {"n_new_classes": 2, "matched": 8 / 10, "matched_old": 4 / 5, "matched_new": 4 / 5}


def test_known_classes_may_stand_for_others_too():
    assert measured([("cat", "dog"), ("dog", "cat"), ("owl", "new 1")], ["new 1"])["matched_old"] == 1


@pytest.mark.parametrize(
    ("pairs", "names"),
    [
        ([("cat", "cat"), ("", "new 1")], {"n_new_classes", "matched", "matched_old"}),
        ([("owl", "new 1")], {"n_new_classes", "matched", "matched_new"}),
        ([("", "new 1")], {"n_new_classes"}),
    ],
)
def test_what_no_answer_tells_is_absent(pairs, names):
    assert measured(pairs, ["new 1"]).keys() == names


def test_a_model_without_new_classes_has_none_of_it():
    assert measured([("cat", "cat")], []) == {}


def test_the_stage_measures_the_new_classes_of_a_model(run):
    """Of a model that knows four digits by name, and three by number; top1 counts these as wrong."""
    model = Classifier.read(run / "train")
    names = {"label": [name if i < 7 else f"new {i - 6}" for i, name in enumerate(model.classes)]}
    model.head.names = names
    labels = Labels.read(run / "label/labels.csv")
    old = {key: row for key, row in labels.rows.items() if row[0] in names["label"]}
    Labels(labels.levels, old).write(run / "label/labels.csv")
    model.write(run / "train", {"method": "gcd", "unreached": [], "discovered": names["label"][7:]})
    result = CliRunner().invoke(main, ["--set", "evaluate.random_draws=3"])
    assert result.exit_code == 0, result.output
    values = read_json(run / "evaluate/metrics.json")
    assert values["n_new_classes"] == 3
    assert values["top1"] < values["matched"]
    assert values["matched_new"] > 0.5
