"""Labelled images class by class: every class as often, whatever the number of its labels."""

from collections import Counter

import numpy as np
import pytest
import torch

from pipeline.train.by_class import ByClass, supports
from pipeline.train.targets import Targets

UNEVEN = [3, 1, 1, 5, 1, 3, 3, 1, 1, 3]  # five of class 1, four of class 3, one of class 5; none of 0, 2 and 4


def targets(*levels):
    names = ["label", "coarse"][: len(levels)]
    return Targets(
        {name: [str(i) for i in range(6)] for name in names}, torch.arange(len(levels[0])), torch.tensor(levels).T
    )


def drawn(order, count, size=7):
    return np.concatenate([order.batch(step, size) for step in range(-(-count // size))])[:count]


def test_every_class_comes_once_a_round_and_its_images_in_turn():
    places = drawn(ByClass(targets(UNEVEN), 0, "x"), 3 * 20)
    classes = np.array(UNEVEN)[places].reshape(20, 3)
    assert (np.sort(classes, axis=1) == [1, 3, 5]).all()
    assert len({tuple(row) for row in classes.tolist()}) > 1
    for c in (1, 3, 5):
        own = [place for place in places.tolist() if UNEVEN[place] == c]
        assert set(Counter(own).values()) == {20 // UNEVEN.count(c)}  # 20 rounds: four times five, five times four
        assert len(set(own[: UNEVEN.count(c)])) == UNEVEN.count(c)


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_a_batch_is_a_function_of_seed_and_place(size):
    whole = drawn(ByClass(targets(UNEVEN), 0, "x"), 80, size=80)
    assert np.array_equal(whole, drawn(ByClass(targets(UNEVEN), 0, "x"), 80, size))
    assert np.array_equal(ByClass(targets(UNEVEN), 0, "x").batch(1, size), whole[size : 2 * size])
    assert not np.array_equal(whole, drawn(ByClass(targets(UNEVEN), 1, "x"), 80))
    assert not np.array_equal(whole, drawn(ByClass(targets(UNEVEN), 0, "y"), 80))


def test_with_as_many_labels_in_each_class_every_image_comes_once_an_epoch():
    places = drawn(ByClass(targets([0, 1, 2, 0, 1, 2, 2, 1, 0]), 0, "x"), 9)
    assert sorted(places) == list(range(9))


def test_an_image_with_a_coarse_label_only_counts_for_a_class_of_that_level():
    places = drawn(ByClass(targets([0, -1, -1, 1, -1], [0, 0, 0, 1, 1]), 0, "x"), 4 * 6)
    assert (np.bincount(places) == [6, 3, 3, 6, 6]).all()  # fine 0, coarse 0 twice, fine 1, coarse 1


@pytest.mark.parametrize("labels", [[2], [2, 2, 2]])
def test_one_class_alone(labels):
    assert (np.bincount(drawn(ByClass(targets(labels), 0, "x"), 6)) == 6 // len(labels)).all()


@pytest.mark.parametrize("per_class", [1, 3, 4, 11])
def test_supports_are_as_many_of_each_class_that_has_a_label_class_after_class(per_class):
    for step in range(5):
        places = supports(targets(UNEVEN), per_class, 6, 0, step)
        assert np.array_equal(np.array(UNEVEN)[places], np.repeat([1, 3, 5], per_class))
        for c in (1, 3, 5):
            often = np.bincount([p for p in places if UNEVEN[p] == c], minlength=10)[np.array(UNEVEN) == c]
            assert often.max() - often.min() <= 1  # never one twice while another waits


def test_supports_are_drawn_anew_at_each_step_and_every_label_comes():
    steps = [supports(targets(UNEVEN), 2, 6, 0, step).tolist() for step in range(30)]
    assert len({tuple(places) for places in steps}) > 10
    assert {place for places in steps for place in places} == set(range(10))
    assert steps[7] == supports(targets(UNEVEN), 2, 6, 0, 7).tolist()
    assert steps[7] != supports(targets(UNEVEN), 2, 6, 1, 7).tolist()


def test_of_more_classes_so_many_are_drawn():
    seen = []
    for step in range(30):
        classes = np.array(UNEVEN)[supports(targets(UNEVEN), 4, 2, 0, step)]
        assert np.array_equal(classes, np.repeat(np.unique(classes), 4))
        seen.append(tuple(np.unique(classes).tolist()))
    assert set(seen) == {(1, 3), (1, 5), (3, 5)}
    assert supports(targets([2, 2]), 3, 1, 0, 0).tolist() in ([0, 1, 0], [0, 1, 1])


def test_supports_have_a_label_at_the_finest_level():
    places = supports(targets([-1, 0, -1, 1], [0, 0, 1, 1]), 2, 6, 0, 0)
    assert places.tolist() == [1, 1, 3, 3]
