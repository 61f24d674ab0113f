"""The labels by row and class number, and each refusal."""

import numpy as np
import pytest
import torch

from pipeline.artifacts.labels import Classes, Labels
from pipeline.base.errors import ArtifactError
from pipeline.train.match import match

ROWS = {"a": 4, "b": 2, "c": 7, "d": 5}
LABELS = Labels(
    ["label", "coarse", "coarse2"], {"c": ["cat", "", ""], "a": ["", "pet", ""], "b": ["ant", "insect", ""]}
)


def matched(labels, classes=None):
    return match(labels, Classes(classes or {}), lambda keys: np.array([ROWS[key] for key in keys]))


def test_labels_are_joined_by_key_and_levels_without_any_left_out():
    found = matched(LABELS, {"label": ["ant", "bee", "cat"]})
    assert found.names == {"label": ["ant", "bee", "cat"], "coarse": ["insect", "pet"]}
    assert found.rows.tolist() == [4, 2, 7]
    assert found.labels.tolist() == [[-1, 1], [0, 0], [2, -1]]
    assert (found.classes, found.unlabelled_classes) == (["ant", "bee", "cat"], ["bee"])
    assert torch.equal(found.labelled_classes, torch.tensor([0, 2]))
    finest = found.finest()
    assert (finest.rows.tolist(), finest.labels.tolist(), list(finest.names)) == ([2, 7], [[0], [2]], ["label"])


def test_classes_that_only_labels_name_come_after_the_known_ones():
    found = matched(LABELS, {"label": ["dog", "cat"]})
    assert found.names == {"label": ["dog", "cat", "ant"], "coarse": ["insect", "pet"]}
    assert found.labels.tolist() == [[-1, 1], [2, 0], [1, -1]]


def test_rows_without_any_label_are_none():
    found = matched(Labels(["label"], {"a": [""], "d": ["x"]}))
    assert (found.rows.tolist(), found.names) == ([5], {"label": ["x"]})


def test_without_a_label_at_the_finest_level_it_refuses():
    with pytest.raises(ArtifactError, match=r"labels\.csv: expected at least one label, got none"):
        matched(Labels(["label", "coarse"], {"a": ["", "pet"]}), {"label": ["ant"]})
