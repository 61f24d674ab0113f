"""The sequence of rows: every row once an epoch, any batch without those before it."""

import numpy as np
import pytest

from pipeline.shards.order import Order, ShardOrder


def epochs_of(sequence, rows, count):
    """Each epoch has every row once, in an order that differs from the others'."""
    epochs = [tuple(sequence[i : i + rows]) for i in range(0, count * rows, rows)]
    assert all(sorted(epoch) == list(range(rows)) for epoch in epochs)
    assert rows <= 8 or len(set(epochs)) == count


@pytest.mark.parametrize(("rows", "size"), [(10, 3), (10, 10), (3, 10), (1, 4), (7, 1)])
def test_every_row_once_an_epoch_in_orders_that_differ(rows, size):
    order = Order(rows, 0, "x")
    epochs_of(np.concatenate([order.batch(step, size) for step in range(-(-5 * rows // size))]), rows, 5)


def shards_of(sizes, seed=0):
    """Rows of shards of these sizes, in any order."""
    rows = np.random.default_rng(seed).permutation(sum(sizes))
    return [np.sort(part) for part in np.split(rows, np.cumsum(sizes)[:-1])]


@pytest.mark.parametrize(
    ("sizes", "window", "size"),
    [
        ([10, 10, 10, 10, 10, 10, 10], 2, 8),  # seven shards, windows of two: the last has one
        ([50], 4, 8),  # one shard
        ([3, 40, 1, 7], 1, 16),  # uneven, batches longer than shards
        ([3, 0, 40, 0, 1, 7], 2, 16),  # shards without an image of the split
        ([5, 5], 10, 4),  # a window larger than the set
        ([1, 1, 1], 1, 12),  # a batch of four epochs
    ],
)
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_every_row_once_an_epoch_whatever_the_shards_and_ranks(sizes, window, size, ranks):
    """All ranks have as many rows at every step, whatever divides what; together they have every row once."""
    rows, total = shards_of(sizes), sum(sizes)
    steps = -(-4 * total // size)
    own = [ShardOrder(rows, window, 0, "x") for _ in range(ranks)]
    sequence = []
    for step in range(steps):
        part = size // ranks
        batches = [order.batch(step, size)[r * part : (r + 1) * part] for r, order in enumerate(own)]
        assert [len(batch) for batch in batches] == [part] * ranks
        sequence += np.concatenate(batches).tolist()
    epochs_of(sequence, total, 4)


@pytest.mark.parametrize("order", [lambda *a: Order(26, *a), lambda *a: ShardOrder(shards_of([7, 2, 9, 4, 4]), 2, *a)])
def test_a_batch_does_not_depend_on_those_before_it(order):
    walked = order(3, "x")
    batches = [walked.batch(step, 5) for step in range(30)]
    for step in (29, 3, 17, 0):
        np.testing.assert_array_equal(order(3, "x").batch(step, 5), batches[step])
        np.testing.assert_array_equal(walked.batch(step, 5), batches[step])
    assert not np.array_equal(order(4, "x").batch(8, 5), batches[8])
    assert not np.array_equal(order(3, "y").batch(8, 5), batches[8])


def test_few_shards_are_in_use_at_a_time_and_those_are_named():
    rows = shards_of([20, 13, 0, 20, 16, 20, 9, 20])
    shard_of = {row: number for number, own in enumerate(rows) for row in own.tolist()}
    order, size, window = ShardOrder(rows, 2, 0, "x"), 4, 2
    soon: list[set[int]] = []
    for step in range(200):
        batch = [shard_of[row] for row in order.batch(step, size).tolist()]
        used = set(batch)
        assert len(used) <= 2 * window  # of two windows where it lies across their border
        named = order.shards(step, size)
        assert len(named) == len(set(named)) <= 2 * window
        assert batch[-1] in named[:window]  # those of the window in which the batch ends come first
        assert used <= set(named) | (soon[-1] if soon else set())
        if step >= 5:  # and early enough: a window has more than five batches, but for the last, of one shard
            assert used <= soon[-1] | soon[-2]
        soon.append(set(named))
    mixed = np.concatenate([order.batch(step, size) for step in range(4)])
    assert len({shard_of[row] for row in mixed.tolist()}) == 2  # not one after the other
    assert not np.array_equal(mixed, np.sort(mixed))
