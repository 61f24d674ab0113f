"""Moving averages against a loop, and that they wait."""

import pytest
import torch

from pipeline.nn.ema import warm_momentum
from pipeline.train.moving import MovingMean


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("warm", [True, False])
def test_it_is_the_average_of_a_loop(momentum, shape, warm):
    values = torch.rand(6, *shape, generator=torch.Generator().manual_seed(0))
    mean = MovingMean(torch.full(shape, 5.0), momentum, warm=warm)
    expected = torch.full(shape, 5.0)
    for step, value in enumerate(values):
        factor = warm_momentum(momentum, step + 1) if warm else momentum
        expected = factor * expected + (1 - factor) * value
        torch.testing.assert_close(mean.updated(value), expected)
        mean.after_step()
        torch.testing.assert_close(mean.mean, expected)


def test_it_waits_for_after_step_and_moves_once():
    mean = MovingMean(torch.zeros(2), 0.9, warm=True)
    first = mean.updated(torch.ones(2))
    assert torch.equal(mean.updated(torch.ones(2)), first)
    assert mean.mean.tolist() == [0, 0]
    mean.after_step()
    mean.after_step()
    assert torch.equal(mean.mean, first)
    assert mean.steps == 1


def test_all_that_it_knows_is_in_the_state_dict():
    start = torch.zeros(2)
    one, other = (MovingMean(start, 0.999, warm=True) for _ in range(2))
    for value in (1.0, 2.0):
        one.updated(torch.full((2,), value))
        one.after_step()
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.updated(torch.ones(2)), other.updated(torch.ones(2)))
    assert start.tolist() == [0, 0]
