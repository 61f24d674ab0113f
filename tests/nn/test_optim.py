"""Schedules at their corners, LARS against its equation, slow copies against theirs."""

import math

import pytest
import torch
from torch import nn

from pipeline.nn import ema, schedule
from pipeline.nn.optim import OptimParams, with_momentum


def params(**changes):
    base = {
        "name": "sgd", "learning_rate": 0.5, "momentum": 0.9, "nesterov": False, "weight_decay": 0.1, "warmup": 0.0,
        "accumulate": 1, "schedule": "cosine", "final_learning_rate": 0.0, "bias_scale": 1.0,
        "trust": 1e-3, "clip": False,
    }  # fmt: skip
    return OptimParams(**{**base, **changes})


def test_rates():
    assert [params().rate(t) for t in (0, 0.5, 1)] == pytest.approx([0.5, 0.25, 0.0])
    assert [params(schedule="constant").rate(t) for t in (0, 1)] == [0.5, 0.5]
    assert params(schedule="cosine_7_16").rate(1) == pytest.approx(0.5 * math.cos(7 * math.pi / 16))
    warm = params(warmup=0.2)
    assert [warm.rate(t) for t in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.25, 0.5, 0.25, 0])
    assert [params(final_learning_rate=0.1).rate(t) for t in (0, 0.5, 1)] == pytest.approx([0.5, 0.3, 0.1])
    assert [schedule.cosine(0.9, 1.0, t) for t in (0, 0.5, 1)] == pytest.approx([0.9, 0.95, 1.0])


def test_biases_and_norms_get_no_decay():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    decayed, free = params().optimiser(net).param_groups
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert [p.ndim for p in free["params"]] == [1, 1, 1, 1]
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)


def test_biases_have_a_rate_of_their_own_and_some_modules_a_constant_one():
    net = nn.ModuleDict({"body": nn.Linear(2, 2), "top": nn.Linear(2, 2)})
    net.constant_rate = (net["top"],)
    chosen = params(bias_scale=0.1, warmup=0.2)
    optimiser = chosen.optimiser(net)
    assert chosen.move(optimiser, 0.6) == pytest.approx(0.25)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    found = [rates[id(p)] for p in (*net["body"].parameters(), *net["top"].parameters())]
    assert found == pytest.approx([0.25, 0.025, 0.5, 0.05])


@pytest.mark.parametrize(
    "changes", [{"final_learning_rate": 0.6}, {"final_learning_rate": 0.1, "schedule": "constant"}]
)
def test_a_final_rate_is_the_end_of_a_cosine(changes):
    with pytest.raises(ValueError, match="0, or with schedule cosine at most learning_rate"):
        params(**changes)


def test_lars_against_its_equation():
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    optimiser = params(name="lars").optimiser(net)
    weight, bias = net.weight.detach().clone(), net.bias.detach().clone()
    v_weight, v_bias = torch.zeros_like(weight), torch.zeros_like(bias)
    for step in range(3):
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        net(x).square().sum().backward()
        g = net.weight.grad + 0.1 * weight
        v_weight = 0.9 * v_weight + 1e-3 * weight.norm() / g.norm() * g
        v_bias = 0.9 * v_bias + net.bias.grad
        weight, bias = weight - 0.5 * v_weight, bias - 0.5 * v_bias
        optimiser.step()
        torch.testing.assert_close(net.weight.detach(), weight)
        torch.testing.assert_close(net.bias.detach(), bias)


@pytest.mark.parametrize(("rate", "factor"), [(0.5, None), (1e-6, 1.0)])
def test_larc_takes_its_rate_for_a_bound(rate, factor):
    """The step is min(trust |w| / |g|, rate) times the gradient."""
    net = nn.Linear(3, 2, bias=False)
    weight = net.weight.detach().clone()
    optimiser = params(name="lars", clip=True, trust=0.02, learning_rate=rate, weight_decay=0.0).optimiser(net)
    net(torch.ones(4, 3)).square().sum().backward()
    g = net.weight.grad
    step = 0.02 * weight.norm() / g.norm() if factor is None else rate * factor
    optimiser.step()
    torch.testing.assert_close(net.weight.detach(), weight - step * g)


def test_larc_at_a_rate_of_zero_is_its_limit():
    """The first step of a warm-up moves nothing, and leaves the gradient itself to the momentum."""
    net = nn.Linear(3, 2, bias=False)
    optimiser = params(name="lars", clip=True, trust=50.0, weight_decay=0.0, warmup=0.5).optimiser(net)
    assert params(warmup=0.5).move(optimiser, 0.0) == 0.0
    net(torch.ones(4, 3)).square().sum().backward()
    optimiser.step()
    torch.testing.assert_close(optimiser.state[net.weight]["momentum_buffer"], net.weight.grad)


def test_lars_with_a_weight_of_zero_takes_a_plain_step():
    net = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(net.weight)
    optimiser = params(name="lars").optimiser(net)
    net(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    assert net.weight.tolist() == [[-0.5, -0.5]]


@pytest.mark.parametrize("buffers", [True, False])
def test_ema_over_parameters_and_only_if_asked_over_buffers(buffers):
    slow, fast = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    nn.init.constant_(fast.weight, 3.0)
    fast.running_mean.fill_(10.0)
    ema.update(slow, fast, 0.75, buffers=buffers)
    assert slow.weight.tolist() == [1.5, 1.5]
    assert slow.running_mean.tolist() == ([2.5, 2.5] if buffers else [0.0, 0.0])


@pytest.mark.parametrize("changes", [{"momentum": 0.0}, {"name": "lars"}])
def test_nesterov_needs_sgd_with_momentum(changes):
    with pytest.raises(ValueError, match="nesterov: false, or sgd with momentum above 0"):
        params(nesterov=True, **changes)


def test_ema_is_warmed_up():
    assert [ema.warm_keep(0.999, step) for step in (0, 8, 10**6)] == [0.1, 0.5, 0.999]


@pytest.mark.parametrize("late", [0, 1])
def test_momentum_from_the_start_takes_the_same_steps(late):
    """Also where the gradient of some parameters comes later; torch's fused SGD needs it then."""
    ends = []
    for fused in (False, True):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True, fused=fused)
        if fused:
            with_momentum(optimiser)
        for step in range(3):
            optimiser.zero_grad()
            (net(torch.ones(4, 3)) if step >= late else net[1](torch.ones(4, 2))).square().sum().backward()
            optimiser.step()
        ends.append([p.detach() for p in net.parameters()])
    torch.testing.assert_close(ends[1], ends[0])
