"""The two primitives against loops, finite differences, and under autocast; what methods remember."""

import logging
import math

import pytest
import torch
import torch.nn.functional as F

from pipeline.nn.memory import Bank, Queue
from pipeline.nn.primitives import regress, soft_ce, spread, unit
from pipeline.pretrain.watch import Watch
from tests.oracles import primitives


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=chance(seed), dtype=dtype)


def test_soft_ce_is_its_formula():
    q, keys, y = rows(4, 3), rows(6, 3, seed=1), rows(4, 6, seed=2).softmax(dim=1)
    mask = torch.zeros(4, 6, dtype=torch.bool)
    mask[1, 2] = mask[3, 0] = mask[3, 5] = True
    y = y.masked_fill(mask, 0)  # rows that do not sum to 1, too
    for hidden in (None, mask):
        expected = primitives.soft_ce(q.tolist(), keys.tolist(), y.tolist(), 0.3, hidden)
        assert soft_ce(q, keys, y, 0.3, hidden).item() == pytest.approx(expected, rel=1e-5)
    own = torch.tensor([5, 0, 1, 2])
    expected = primitives.soft_ce(q.tolist(), keys.tolist(), F.one_hot(own, 6).tolist(), 0.3, mask)
    assert soft_ce(q, keys, own, 0.3, mask).item() == pytest.approx(expected, rel=1e-5)


def test_soft_ce_of_equal_rows_is_the_log_of_the_keys_that_exist():
    q, mask = unit(rows(1, 4)).repeat(3, 1), torch.zeros(3, 9, dtype=torch.bool)
    mask[:, 1:3] = True
    assert soft_ce(q, q[:1].repeat(9, 1), torch.zeros(3, dtype=torch.long), 0.07, mask).item() == pytest.approx(
        math.log(7), rel=1e-5
    )


def test_gradients_of_soft_ce_by_finite_differences():
    q, keys = rows(3, 4, dtype=torch.float64).requires_grad_(), rows(5, 4, seed=1, dtype=torch.float64).requires_grad_()
    y = rows(3, 5, seed=2, dtype=torch.float64).softmax(dim=1)
    mask = torch.eye(3, 5, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda a, b: soft_ce(a, b, y.masked_fill(mask, 0), 0.2, mask), (q, keys))


def test_a_masked_key_gets_no_gradient():
    q, keys = rows(2, 4).requires_grad_(), rows(3, 4, seed=1).requires_grad_()
    mask = torch.tensor([[False, True, False]] * 2)
    soft_ce(q, keys, torch.tensor([0, 2]), 0.2, mask).backward()
    assert keys.grad[1].tolist() == [0.0] * 4
    assert keys.grad[0].abs().sum() > 0


def test_regress_is_its_formula():
    q, targets, weights = rows(4, 3), rows(4, 2, 3, seed=1), rows(4, 2, seed=2).abs()
    expected = primitives.regress(q.tolist(), targets.tolist(), weights.tolist())
    assert regress(q, targets, weights).item() == pytest.approx(expected, rel=1e-5)
    expected = primitives.regress(q.tolist(), targets.tolist(), [[0.5, 0.5]] * 4)
    assert regress(q, targets).item() == pytest.approx(expected, rel=1e-5)
    assert regress(q, 3 * q[:, None]).item() == pytest.approx(0, abs=1e-6)
    assert regress(q, -q[:, None]).item() == pytest.approx(4, rel=1e-6)


def test_regress_has_a_right_gradient_and_a_wall_before_its_targets():
    q, targets = rows(3, 4, dtype=torch.float64).requires_grad_(), rows(3, 2, 4, seed=1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a: regress(a, targets), (q,))
    targets.requires_grad_()
    regress(q, targets).backward()
    assert targets.grad is None


def test_both_are_float32_under_autocast():
    q, keys = unit(rows(8, 64)), unit(rows(32, 64, seed=1))
    own = torch.arange(8)
    exact = soft_ce(q, keys, own, 0.05), regress(q, keys[:8, None])
    with torch.autocast("cpu", torch.bfloat16):
        found = soft_ce(q, keys, own, 0.05), regress(q, keys[:8, None])
        assert (q @ keys.T).dtype == torch.bfloat16  # what they would have had
        assert unit(q.bfloat16()).dtype == torch.float32
    assert [value.item() for value in found] == [value.item() for value in exact]


def test_spread_is_zero_when_collapsed_and_one_when_even():
    assert spread(unit(rows(1, 4)).repeat(9, 1)).item() == pytest.approx(0, abs=1e-6)
    assert spread(rows(1, 4) * torch.arange(1.0, 9)[:, None]).item() == pytest.approx(0, abs=1e-6)
    assert spread(rows(20000, 16)).item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("batch", [1, 3, 7, 10, 23])
def test_a_queue_holds_the_last_rows_in_their_order(batch):
    queue, number = Queue(7, 2, chance()), 0
    before = queue.rows.clone()
    for _ in range(6):
        fresh = torch.arange(number, number + batch).float()[:, None].repeat(1, 2)
        number += batch
        queue.push(fresh)
        held = torch.roll(queue.rows[:, 0], -int(queue.count) % 7).tolist()
        assert held[-min(number, 7) :] == list(range(max(number - 7, 0), number))
        assert queue.full == (number >= 7)
    assert torch.allclose(before.norm(dim=1), torch.ones(7))


def test_a_bank_moves_the_rows_of_a_batch_alone():
    bank = Bank(5, 3, chance())
    before, new = bank.rows.clone(), unit(rows(2, 3, seed=1))
    bank.update(torch.tensor([3, 1]), new, keep=0.5)
    torch.testing.assert_close(bank.rows[[3, 1]], new)  # the first time, chance counts for nothing
    assert torch.equal(bank.rows[[0, 2, 4]], before[[0, 2, 4]])
    assert bank.seen.tolist() == [False, True, False, True, False]
    other = unit(rows(1, 3, seed=2))
    bank.update(torch.tensor([3]), other, keep=0.25)
    torch.testing.assert_close(bank.rows[3], unit(0.25 * new[0] + 0.75 * other[0]))


def test_of_an_image_twice_in_a_batch_a_bank_takes_the_last():
    bank, new = Bank(4, 3, chance()), unit(rows(3, 3, seed=1))
    bank.update(torch.tensor([2, 0, 2]), new, keep=0.5)
    torch.testing.assert_close(bank.rows[[0, 2]], new[[1, 2]])


def test_collapse_is_told_once_and_not_at_the_start(caplog):
    watch = Watch(20)
    with caplog.at_level(logging.WARNING):
        for step, value in enumerate([0.02, 0.02, 0.8, 0.1, 0.03, 0.01], 1):
            watch({"step": step, "feature_std": value})
    assert caplog.messages == [
        "step 5 of 20: representations collapse: feature_std 0.030, 1 when spread evenly; a lower "
        "pretrain.optim.learning_rate or another pretrain.method may help"
    ]
