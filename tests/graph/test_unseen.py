"""Images of a class without a label are found; of known classes alone nothing is said."""

import numpy as np
import pytest

from pipeline.graph import unseen as module
from pipeline.graph.affinity import Affinity
from pipeline.graph.run import nearest_others
from pipeline.graph.unseen import unseen
from tests.clouds import CPU, SEARCH, clouds

ALPHA = 0.9


def find(x, y, rows, asked=None, alpha=ALPHA):
    neighbours = nearest_others(x, 6, SEARCH)[0]
    asked = np.ones(len(rows), bool) if asked is None else asked
    known, of = np.unique(y[rows], return_inverse=True)
    said = np.searchsorted(known, y).clip(max=len(known) - 1)
    return unseen(x, neighbours, Affinity.of(neighbours, CPU), rows, of, asked, said, alpha)


def spread_out(y, classes, each=4):
    return np.sort(np.concatenate([np.flatnonzero(y == one)[:: sum(y == one) // each][:each] for one in classes]))


@pytest.mark.parametrize("hidden", [(), (3,), (1, 4), (0, 2)])
def test_the_classes_without_a_label_are_the_groups(hidden):
    x, y = clouds(300, 6, 16, noise=0.4)
    found = find(x, y, spread_out(y, {*range(6)} - {*hidden}))
    assert {int(np.bincount(y[group]).argmax()) for group in found.groups} == {*hidden}
    assert len(found.groups) == len(hidden)
    for group in found.groups:
        assert (y[group] == y[group[0]]).mean() == 1
        assert len(group) > 40
        mean = x[group].mean(axis=0)
        assert (np.diff(x[group] @ mean) <= 1e-6).all()  # the most typical first
    assert [len(group) for group in found.groups] == sorted(map(len, found.groups), reverse=True)


def by_inverse(x, y, rows):
    """The rows below the threshold, by a dense inverse and a loop over the labels."""
    neighbours = nearest_others(x, 6, SEARCH)[0]
    matrix = Affinity.of(neighbours, CPU)
    s = np.zeros((len(x), len(x)))
    order = matrix.order.numpy()
    s[np.ix_(order, order)] = matrix.matrix.to_dense().double().numpy()
    gives = np.linalg.inv(np.eye(len(x)) - ALPHA * s)
    share = gives[:, rows].sum(1) / gives.sum(1)
    without = [
        gives[row, [other for other in rows if other != row]].sum() / gives[row].sum()
        for row in rows
        if (y[rows] == y[row]).sum() > 1
    ]
    return {*np.flatnonzero(share < np.quantile(without, module.SHARE)).tolist()} - {*rows.tolist()}


def test_reach_is_that_of_the_inverse_and_the_threshold_that_of_labels_left_out():
    x, y = clouds(200, 4, 8, noise=0.9)
    rows = np.append(spread_out(y, (0, 1, 2), 5), np.flatnonzero(y == 2)[3])
    expected, found = by_inverse(x, y, rows), {*find(x, y, rows).rows.tolist()}
    assert found
    assert found <= expected  # what does not hang together with many is not shown
    assert len(found) > 0.8 * len(expected)


def test_labels_that_were_not_asked_for_reach_and_set_no_threshold():
    x, y = clouds(300, 6, 16, noise=0.4)
    rows = spread_out(y, range(5))
    alone = find(x, y, rows)
    more = np.setdiff1d(np.flatnonzero(y == 0), rows)[:10]
    both = np.sort(np.append(rows, more))
    np.testing.assert_array_equal(find(x, y, both, np.isin(both, rows)).rows, alone.rows)
    named = np.sort(np.append(rows, np.flatnonzero(y == 5)[:10]))
    assert not find(x, y, named, np.isin(named, rows)).groups


def test_of_few_labels_of_labels_without_a_second_of_their_class_and_without_spreading_nothing_is_said():
    x, y = clouds(300, 6, 16, noise=0.4)
    assert find(x, y, spread_out(y, range(5), 2)).groups
    assert not find(x, y, spread_out(y, range(4), 2)).groups
    assert not find(x, np.arange(300), np.arange(0, 300, 12)).groups
    assert not find(x, y, spread_out(y, range(5)), alpha=0.0).groups


def test_of_many_labels_some_are_left_out(monkeypatch):
    x, y = clouds(300, 6, 16, noise=0.4)
    monkeypatch.setattr(module, "MOST", 12)
    (group,) = find(x, y, spread_out(y, range(5))).groups
    assert (y[group] == 5).all()
