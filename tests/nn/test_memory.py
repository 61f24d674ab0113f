"""What methods remember: a queue's and a bank's rows, and the nearest of them."""

import copy

import pytest
import torch
import torch.nn.functional as F

from pipeline.nn.memory import Bank, Numbers, Queue, nearest_rows
from tests.oracles import msf as oracle


def unit(n, d, seed):
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize(("size", "batch"), [(10, 3), (10, 10), (10, 1), (4, 7), (7, 23), (1, 1), (1, 2)])
def test_a_queue_holds_the_last_rows_in_their_order_and_says_before_what_it_will_hold(size, batch):
    queue = Queue(size, 2, torch.Generator().manual_seed(0))
    torch.testing.assert_close(queue.rows.norm(dim=1), torch.ones(size))
    expected = queue.rows.tolist()
    for step in range(12):
        rows, before = unit(batch, 2, step), copy.deepcopy(queue.state_dict())
        memory = queue.after_push(rows)
        assert all(torch.equal(x, before[name]) for name, x in queue.state_dict().items())
        expected = oracle.push(expected[-size:], rows.tolist())
        assert sorted(memory.tolist()) == sorted(expected)
        assert torch.equal(memory[:batch], rows)
        queue.push(rows)
        assert torch.roll(queue.rows, -int(queue.count) % size, 0).tolist() == expected[-size:]
        assert queue.full == (batch * (step + 1) >= size)


def test_numbers_follow_the_rows_of_a_queue():
    queue, numbers = Queue(7, 2, torch.Generator().manual_seed(0)), Numbers(7)
    assert numbers.rows.tolist() == [-1] * 7
    vectors = unit(50, 2, 1)
    for step in range(6):
        images = torch.arange(3) + 3 * step
        queue.push(vectors[images])
        numbers.push(images)
        assert torch.equal(queue.rows[numbers.rows >= 0], vectors[numbers.rows[numbers.rows >= 0]])
    assert sorted(numbers.rows.tolist()) == list(range(11, 18))


def test_a_bank_moves_the_rows_of_a_batch_alone():
    bank = Bank(5, 3, torch.Generator().manual_seed(0))
    before, new = bank.rows.clone(), unit(2, 3, 1)
    bank.update(torch.tensor([3, 1]), new, momentum=0.5)
    torch.testing.assert_close(bank.rows[[3, 1]], new)  # the first time, the random rows count for nothing
    assert torch.equal(bank.rows[[0, 2, 4]], before[[0, 2, 4]])
    assert bank.seen.tolist() == [False, True, False, True, False]
    other = unit(1, 3, 2)
    bank.update(torch.tensor([3]), other, momentum=0.25)
    torch.testing.assert_close(bank.rows[3], F.normalize(0.25 * new[0] + 0.75 * other[0], dim=0))
    bank.update(torch.tensor([2, 0, 2]), unit(3, 3, 3), momentum=0.5)  # twice in a batch: the last counts
    torch.testing.assert_close(bank.rows[[0, 2]], unit(3, 3, 3)[[1, 2]])


def test_neighbours_come_the_nearest_first_in_float32():
    u = unit(5, 4, 0)
    memory = torch.cat([unit(30, 4, 1), u])
    expected = [oracle.nearest(row, memory.tolist(), range(35), 6) for row in u.tolist()]
    assert nearest_rows(u, memory, 6).tolist() == expected
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert nearest_rows(u, memory, 6).tolist() == expected
    assert [row[0] for row in expected] == [30, 31, 32, 33, 34]
