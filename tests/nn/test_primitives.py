"""The two primitives against loops, finite differences, and under autocast."""

import math

import pytest
import torch
import torch.nn.functional as F

from pipeline.nn.primitives import feature_std, regress, soft_ce, unit
from tests.oracles import primitives


def rows(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_soft_ce_is_its_formula():
    q, keys, y = rows(4, 3), rows(6, 3, seed=1), rows(4, 6, seed=2).softmax(dim=1)
    mask = torch.zeros(4, 6, dtype=torch.bool)
    mask[1, 2] = mask[3, 0] = mask[3, 5] = True
    y = y.masked_fill(mask, 0)  # rows that do not sum to 1, too
    positive = torch.tensor([5, 0, 1, 2])
    one_hot = F.one_hot(positive, 6)
    for targets, weights, hidden in ((y, y, None), (y, y, mask), (positive, one_hot, mask)):
        expected = primitives.soft_ce(q.tolist(), keys.tolist(), weights.tolist(), 0.3, hidden)
        assert soft_ce(q, keys, targets, 0.3, hidden).item() == pytest.approx(expected, rel=1e-5)


def test_soft_ce_of_equal_rows_is_the_log_of_the_keys_that_exist():
    q, mask = unit(rows(1, 4)).repeat(3, 1), torch.zeros(3, 9, dtype=torch.bool)
    mask[:, 1:3] = True
    loss = soft_ce(q, q[:1].repeat(9, 1), torch.zeros(3, dtype=torch.long), 0.07, mask)
    assert loss.item() == pytest.approx(math.log(7), rel=1e-5)


def test_gradient_of_soft_ce_is_right_and_none_reaches_a_masked_key():
    q, keys = (rows(n, 4, seed=n, dtype=torch.float64).requires_grad_() for n in (3, 5))
    y = rows(3, 5, seed=2, dtype=torch.float64).softmax(dim=1)
    mask = torch.eye(3, 5, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda a, b: soft_ce(a, b, y.masked_fill(mask, 0), 0.2, mask), (q, keys))
    mask = torch.tensor([[False, True, False, False, False]] * 3)
    soft_ce(q, keys, torch.tensor([0, 2, 4]), 0.2, mask).backward()
    assert [bool(grad.any()) for grad in keys.grad] == [True, False, True, True, True]


def test_regress_is_its_formula():
    q, targets, weights = rows(4, 3), rows(4, 2, 3, seed=1), rows(4, 2, seed=2).abs()
    for given, looped in (((weights,), weights.tolist()), ((), [[0.5, 0.5]] * 4)):
        expected = primitives.regress(q.tolist(), targets.tolist(), looped)
        assert regress(q, targets, *given).item() == pytest.approx(expected, rel=1e-5)
    assert regress(q, 3 * q[:, None]).item() == pytest.approx(0, abs=1e-6)
    assert regress(q, -q[:, None]).item() == pytest.approx(4, rel=1e-6)


def test_gradient_of_regress_is_right_and_stops_at_its_targets():
    q, targets = rows(3, 4, dtype=torch.float64).requires_grad_(), rows(3, 2, 4, seed=1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a: regress(a, targets), (q,))
    targets.requires_grad_()
    regress(q, targets).backward()
    assert targets.grad is None


def test_both_are_float32_under_autocast():
    q, keys = unit(rows(8, 64)), unit(rows(32, 64, seed=1))
    positive = torch.arange(8)
    exact = soft_ce(q, keys, positive, 0.05), regress(q, keys[:8, None])
    with torch.autocast("cpu", torch.bfloat16):
        assert soft_ce(q, keys, positive, 0.05) == exact[0]
        assert regress(q, keys[:8, None]) == exact[1]
        assert (q @ keys.T).dtype == torch.bfloat16  # what they would have had
        assert unit(q.bfloat16()).dtype == torch.float32


def test_feature_std_is_zero_when_collapsed_and_one_when_even():
    assert feature_std(rows(1, 4) * torch.arange(1.0, 9)[:, None]).item() == pytest.approx(0, abs=1e-6)
    assert feature_std(rows(20000, 16)).item() == pytest.approx(1, abs=0.01)
