"""Coarser levels: where a model has a head for them, where they are summed, and what is consistent."""

import numpy as np
import pytest
import torch

from pipeline.artifacts.embeddings import Embeddings
from pipeline.artifacts.labels import Labels
from pipeline.artifacts.predictions import Ranking
from pipeline.evaluate.levels import class_sums, consistency, of_readout, parents_in
from pipeline.evaluate.metrics import EvaluateParams, gather
from pipeline.evaluate.predict import SplitPredictions

ROWS = {"a": ["cat", "pet"], "b": ["dog", "pet"], "c": ["ant", "insect"], "d": ["", "insect"], "e": ["bee", ""]}
KIND = {"cat": "pet", "dog": "pet", "ant": "insect"}


def test_parents_are_what_stands_in_one_row():
    assert parents_in(Labels(["label", "kind"], ROWS)) == {"kind": KIND}
    assert parents_in(Labels(["label"], {"a": ["cat"]})) == {}


def test_a_coarser_class_is_as_probable_as_the_finest_below_it():
    names, matrix = class_sums(["ant", "bee", "cat", "dog"], KIND)
    assert names == ["insect", "pet"]
    p = torch.tensor([[0.4, 0.3, 0.2, 0.1]])
    torch.testing.assert_close(p @ matrix, torch.tensor([[0.4, 0.3]]))  # nothing is known above bee


def test_figures_of_a_level_are_over_the_answers_that_are_known():
    confidence = np.array([0.9, 0.8, 0.7])
    found = of_readout("kind", ["pet", "", "insect"], ["pet", "pet", "pet"], confidence)
    assert found["kind_top1"] == 0.5
    assert found["kind_macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["kind_ece"] == pytest.approx((0.1 + 0.7) / 2)
    assert of_readout("kind", ["", "", ""], ["pet"] * 3, confidence) == {}


def test_consistency_is_the_share_of_coarser_predictions_above_the_finest_ones():
    assert consistency(["cat", "ant", "dog", "bee"], ["pet"] * 4, KIND) == pytest.approx(2 / 3)
    assert consistency(["bee"], ["pet"], KIND) is None


def run(predictions, answers):
    """Metrics of six training and two test images, k and l, whose answers are cat and ant."""
    vectors = np.eye(8, 4, dtype=np.float32) + np.eye(8, 4, -4, dtype=np.float32)
    train, test = Embeddings(list("abcdef"), vectors[:6]), Embeddings(["k", "l"], vectors[6:])
    ranking = {
        readout: Ranking([[name] for name in names], np.array([[0.8], [0.6]])) for readout, names in predictions.items()
    }
    split = SplitPredictions(["k", "l"], ranking)
    params = EvaluateParams(neighbours=2, random_draws=2, batch_size=4)
    return gather(split, Labels(["label", "kind"], ROWS), answers, [], train, test, params, 0).values


def test_each_level_and_each_readout_has_its_metrics():
    answers = Labels(["label", "kind"], {**ROWS, "f": ["cat", "pet"], "k": ["cat", "pet"], "l": ["ant", "insect"]})
    found = run({"label": ["cat", "cat"], "kind": ["pet", "insect"], "nearest": ["ant", "ant"]}, answers)
    assert (found["top1"], found["kind_top1"], found["nearest_top1"]) == (0.5, 1.0, 0.5)
    assert found["kind_consistency"] == 0.5
    assert "nearest_consistency" not in found
    assert (found["n_labels"], found["n_coarse_labels"]) == (4, 1)


def test_a_level_without_answers_has_its_consistency_alone():
    """The labels of a person have a level that the answers of the test images have not."""
    found = run({"label": ["cat", "cat"], "kind": ["pet", "insect"]}, Labels(["label"], {"k": ["cat"], "l": ["ant"]}))
    assert {name for name in found if name.startswith("kind_")} == {"kind_consistency"}
