"""The exact test and the interval of a paired difference, held against sums over all that may happen."""

from itertools import product
from math import comb

import pytest

from pipeline.evaluate.paired import Paired


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (5, 0), (0, 6), (9, 3), (4, 4), (30, 17)])
def test_p_is_the_share_of_coin_tosses_as_uneven(gained, lost):
    apart = gained + lost
    tail = sum(comb(apart, k) for k in range(apart + 1) if abs(2 * k - apart) >= abs(gained - lost))
    assert Paired("test", 100, gained, lost, 0).p == pytest.approx(tail / 2**apart)


@pytest.mark.parametrize(("up", "down"), [(0.1, 0.1), (0.2, 0.05), (0.3, 0.25), (0.02, 0.15)])
def test_the_interval_holds_the_difference_in_about_95_of_100_cases(up, down):
    n, same = 40, 1 - up - down
    held = total = 0.0
    for gained, lost in product(range(n + 1), repeat=2):
        rest = n - gained - lost
        if rest < 0:
            continue
        p = comb(n, gained) * comb(n - gained, lost) * up**gained * down**lost * same**rest
        low, high = Paired("test", n, gained, lost, 0).interval
        held += p * (low <= up - down <= high)
        total += p
    assert total == pytest.approx(1)
    assert 0.93 <= held <= 0.99
