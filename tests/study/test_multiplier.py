"""What a label is worth, held against curves whose answer is known."""

import numpy as np
import pytest

from pipeline.study.multiplier import label_multiplier

CURVE = {10: [0.4, 0.6], 100: [0.8, 1.0], 1000: [0.9, 1.0]}  # means .5, .9, .95


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        (0.5, 1.0),  # what random labels of the same number have
        (0.9, 10.0),
        (0.7, np.sqrt(10)),  # half of the way in the logarithm
        (0.925, np.sqrt(1000)),
        (0.1, 0.0),  # below all that was measured
    ],
)
def test_it_is_the_number_of_random_labels_that_reach_the_accuracy(accuracy, expected):
    assert label_multiplier([accuracy], 10, CURVE).value == pytest.approx(expected)


def test_what_no_random_labels_reach_is_more_than_the_most():
    found = label_multiplier([0.97], 10, CURVE)
    assert np.isinf(found.value)
    assert str(found).startswith("> 100.0 (")
    assert found.cells()[0] == "inf"
    assert str(label_multiplier([0.1], 10, CURVE)) == "< 1.0 (< 1.0 to < 1.0)"


def test_a_fall_by_chance_is_taken_for_a_plain():
    found = label_multiplier([0.85], 10, {10: [0.5], 20: [0.8], 40: [0.7], 80: [0.9]})
    assert found.value == pytest.approx(4 * np.sqrt(2))  # half of the way from 40, which stays at .8, to 80


def test_the_interval_holds_the_value_and_narrows_with_the_spread():
    wide, narrow = (
        label_multiplier([0.7 - s, 0.7, 0.7 + s], 10, {10: [0.5 - s, 0.5 + s], 100: [0.9 - s, 0.9 + s]})
        for s in (0.08, 0.01)
    )
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high
    few, many = (label_multiplier([0.66, 0.74] * n, 10, {10: [0.5] * 2 * n, 100: [0.9] * 2 * n}) for n in (1, 8))
    assert few.low < many.low < many.high < few.high
    alike = label_multiplier([0.7, 0.7], 10, {10: [0.5, 0.5], 100: [0.9, 0.9]})
    assert alike.low == alike.value == alike.high


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_interval_holds_the_truth_as_often_as_it_says(seeds):
    """Random picks against random picks, whose multiplier is 1; each seed is good or bad at all numbers of labels."""
    chance, held, curve = np.random.default_rng(seeds), 0, {10: 0.4, 20: 0.6, 40: 0.75, 80: 0.85, 160: 0.9}
    for _ in range(200):
        luck = chance.normal(0, 0.03, seeds)
        of_random = {b: (mean + luck + chance.normal(0, 0.03, seeds)).tolist() for b, mean in curve.items()}
        own = 0.75 + chance.normal(0, 0.0424, seeds)
        found = label_multiplier(own.tolist(), 40, of_random)
        held += found.low <= 1 <= found.high
    assert held / 200 >= 0.92
