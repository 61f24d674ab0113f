"""Streams: a function of the seed and the names, the same on every machine, and none moves another."""

import numpy as np

from pipeline.base import rng


def test_numbers_never_change():
    assert rng.number(0, "select") == 3695908000059078770
    assert rng.number(1, "select", 3) == 6768388916342615723


def test_a_stream_is_its_own():
    a = rng.stream(0, "select").random(4)
    rng.stream(0, "embed").random(100)
    np.testing.assert_array_equal(a, rng.stream(0, "select").random(4))
    others = [(1, "select"), (0, "selec", "t"), (0, "select", 0), (0, "select", "0")]
    assert len({rng.number(*names) for names in others} | {rng.number(0, "select")}) == 5
