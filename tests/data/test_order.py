"""The sequence of rows: every row once an epoch, any batch without those before it."""

import numpy as np
import pytest

from pipeline.data.order import Order


@pytest.mark.parametrize(("rows", "size"), [(10, 3), (10, 10), (3, 10), (1, 4), (7, 1)])
def test_every_row_once_an_epoch_in_orders_that_differ(rows, size):
    order = Order(rows, 0, "x")
    steps = -(-5 * rows // size)
    sequence = np.concatenate([order.batch(step, size) for step in range(steps)])
    epochs = [sequence[i : i + rows].tolist() for i in range(0, 5 * rows, rows)]
    assert all(sorted(epoch) == list(range(rows)) for epoch in epochs)
    if rows > 5:
        assert len({tuple(epoch) for epoch in epochs}) == 5


def test_a_batch_does_not_depend_on_those_before_it():
    walked = Order(10, 3, "x")
    batches = [walked.batch(step, 7) for step in range(9)]
    np.testing.assert_array_equal(Order(10, 3, "x").batch(8, 7), batches[8])
    assert not np.array_equal(Order(10, 4, "x").batch(8, 7), batches[8])
    assert not np.array_equal(Order(10, 3, "y").batch(8, 7), batches[8])
