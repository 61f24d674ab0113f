"""Schedules at their corners, LARS against its equation, teachers against theirs."""

import math

import pytest
import torch
from torch import nn

from pipeline.nn import ema
from pipeline.nn.optim import AdamWParams, LarsParams, OptimParams, StaircaseParams, with_momentum


def params(**changes):
    base = {
        "name": "sgd", "learning_rate": 0.5, "momentum": 0.9, "nesterov": False, "weight_decay": 0.1, "warmup": 0.0,
        "accumulate": 1, "schedule": "cosine", "final_learning_rate": 0.0, "bias_scale": 1.0,
        "lars": LarsParams(trust=1e-3, clip=False), "adamw": AdamWParams(beta2=0.95), "weight_decay_end": "same",
        "clip_norm": 0.0, "staircase": StaircaseParams(at=[0.6, 0.8], factor=0.1),
    }  # fmt: skip
    return OptimParams(**{**base, **changes})


def test_rates():
    assert [params().rate(t) for t in (0, 0.5, 1)] == pytest.approx([0.5, 0.25, 0.0])
    assert [params(schedule="constant").rate(t) for t in (0, 1)] == [0.5, 0.5]
    assert params(schedule="cosine_7_16").rate(1) == pytest.approx(0.5 * math.cos(7 * math.pi / 16))
    warm = params(warmup=0.2)
    assert [warm.rate(t) for t in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.25, 0.5, 0.25, 0])
    assert [params(final_learning_rate=0.1).rate(t) for t in (0, 0.5, 1)] == pytest.approx([0.5, 0.3, 0.1])
    fallen = params(schedule="staircase", warmup=0.2)
    assert [fallen.rate(t) for t in (0.1, 0.2, 0.59, 0.6, 0.79, 0.8, 1)] == pytest.approx(
        [0.25, 0.5, 0.5, 0.05, 0.05, 0.005, 0.005]
    )
    assert [ema.cosine_momentum(0.9, 1.0, t) for t in (0, 0.5, 1)] == pytest.approx([0.9, 0.95, 1.0])


def test_biases_and_norms_get_no_decay():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    decayed, free = params().optimiser(net).param_groups
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert [p.ndim for p in free["params"]] == [1, 1, 1, 1]
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)


def test_decay_moves_along_half_a_cosine_and_biases_stay_without():
    net = nn.Linear(2, 2)
    chosen = params(weight_decay=0.04, weight_decay_end=0.4)
    optimiser = chosen.optimiser(net)
    for progress, decay in ((0, 0.04), (0.5, 0.22), (1, 0.4)):
        chosen.move(optimiser, progress)
        assert [group["weight_decay"] for group in optimiser.param_groups] == pytest.approx([decay, 0])
    assert params(weight_decay_end="same").decay(0.7) == 0.1


def test_adamw_takes_torchs_steps():
    """Also where a weight has no gradient at first: its count of steps starts later."""
    nets = [nn.ModuleDict({"body": nn.Linear(3, 2), "top": nn.Linear(2, 2)}) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    chosen = params(name="adamw", learning_rate=0.01, schedule="constant")
    ours = chosen.optimiser(nets[0])
    weights, biases = ([p for p in nets[1].parameters() if (p.ndim > 1) is wanted] for wanted in (True, False))
    groups = [{"params": weights, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95))
    for step in range(4):
        x = torch.randn(4, 3, generator=torch.Generator().manual_seed(step))
        for net, optimiser in zip(nets, (ours, theirs), strict=True):
            h = net["body"](x)
            (net["top"](h) if step else h).square().sum().backward()
            optimiser.step()
            optimiser.zero_grad()
    for p, q in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(p, q)


def test_biases_have_a_rate_of_their_own_and_some_modules_a_constant_or_a_multiple():
    net = nn.ModuleDict({"body": nn.Linear(2, 2), "top": nn.Linear(2, 2), "fast": nn.Linear(2, 2)})
    net.constant_rate, net.rate_scale = (net["top"],), ((net["fast"], 10.0),)
    chosen = params(bias_scale=0.1, warmup=0.2)
    optimiser = chosen.optimiser(net)
    assert chosen.move(optimiser, 0.6) == pytest.approx(0.25)
    rates = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    found = [rates[id(p)] for p in net.parameters()]
    assert found == pytest.approx([0.25, 0.025, 0.5, 0.05, 2.5, 0.25])


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


@pytest.mark.parametrize("rate", [0.5, 1e-6])
def test_larc_takes_its_rate_for_a_bound(rate):
    """The step is min(trust |w| / |g|, rate) times the gradient."""
    net = nn.Linear(3, 2, bias=False)
    weight = net.weight.detach().clone()
    lars = LarsParams(trust=0.02, clip=True)
    optimiser = params(name="lars", lars=lars, learning_rate=rate, weight_decay=0.0).optimiser(net)
    net(torch.ones(4, 3)).square().sum().backward()
    g = net.weight.grad
    step = min(0.02 * weight.norm() / g.norm(), rate)
    assert bool(step == rate) is (rate == 1e-6)
    optimiser.step()
    torch.testing.assert_close(net.weight.detach(), weight - step * g)


def test_larc_at_a_rate_of_zero_and_lars_with_a_weight_of_zero_are_their_limits():
    """The first step of a warm-up moves nothing, and leaves the gradient itself to the momentum."""
    net = nn.Linear(3, 2, bias=False)
    chosen = params(name="lars", lars=LarsParams(trust=50.0, clip=True), weight_decay=0.0, warmup=0.5)
    optimiser = chosen.optimiser(net)
    assert chosen.move(optimiser, 0.0) == 0.0
    net(torch.ones(4, 3)).square().sum().backward()
    optimiser.step()
    torch.testing.assert_close(optimiser.state[net.weight]["momentum_buffer"], net.weight.grad)
    net = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(net.weight)
    optimiser = params(name="lars").optimiser(net)
    net(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    assert net.weight.tolist() == [[-0.5, -0.5]]


@pytest.mark.parametrize("buffers", [True, False])
def test_ema_over_parameters_and_only_if_asked_over_buffers(buffers):
    student = nn.BatchNorm1d(2)
    teacher = ema.frozen_copy(student)
    assert not teacher.weight.requires_grad
    assert student.weight.requires_grad
    nn.init.constant_(student.weight, 3.0)
    student.running_mean.fill_(10.0)
    ema.update(teacher, student, 0.75, buffers=buffers)
    assert teacher.weight.tolist() == [1.5, 1.5]
    assert teacher.running_mean.tolist() == ([2.5, 2.5] if buffers else [0.0, 0.0])


FINAL, NESTEROV = "0, or with schedule cosine at most learning_rate", "nesterov: false, or sgd with momentum above 0"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"final_learning_rate": 0.6}, FINAL),
        ({"final_learning_rate": 0.1, "schedule": "constant"}, FINAL),
        ({"nesterov": True, "momentum": 0.0}, NESTEROV),
        ({"nesterov": True, "name": "lars"}, NESTEROV),
        ({"weight_decay_end": "word"}, "same, or a number of at least 0"),
        ({"weight_decay_end": -0.1}, "same, or a number of at least 0"),
        ({"staircase": {"at": [0.6, 0.6], "factor": 0.1}}, "rising numbers between 0 and 1"),
        ({"staircase": {"at": [1.0], "factor": 0.1}}, "rising numbers between 0 and 1"),
    ],
)
def test_values_that_do_not_fit_each_other_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        params(**changes)
    assert params(nesterov=True).optimiser(nn.Linear(2, 2)).param_groups[0]["nesterov"]


def test_ema_is_warmed_up():
    assert [ema.warm_momentum(0.999, step) for step in (0, 8, 10**6)] == [0.1, 0.5, 0.999]


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
