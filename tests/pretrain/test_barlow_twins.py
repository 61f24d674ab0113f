"""Barlow Twins against its equations, lightly's class, its closed forms, and over two processes."""

import threading

import pytest
import torch

from pipeline.base.torchvision_import import torchvision
from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.parallel import dist
from pipeline.pretrain.feed import Feed
from pipeline.pretrain.methods.barlow_twins import BarlowTwins, BarlowTwinsParams, barlow_twins_loss
from tests.digits import CONTRASTIVE, OPTIM, backbone, digits
from tests.oracles import barlow_twins as oracle

PARAMS = {"dim": 8, "hidden_dim": 16, "off_diagonal": 0.0051, "scale": 0.1}


def rows(n, d, seed):
    return 3 * torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + 1


def made(batch_size=8, **changes):
    method = BarlowTwins(backbone(), BarlowTwinsParams(**{**PARAMS, **changes}), 300, torch.Generator().manual_seed(0))
    return method, Feed(digits()[0][:300], (CONTRASTIVE, CONTRASTIVE), None, batch_size, seed=0)


@pytest.mark.parametrize(("off_diagonal", "scale"), [(0.0, 1.0), (0.5, 1.0), (0.0051, 0.1), (1.0, 2.0)])
def test_loss_is_the_papers(off_diagonal, scale):
    z1, z2 = rows(6, 4, 0), rows(6, 4, 1)
    expected = scale * oracle.barlow_twins(z1.tolist(), z2.tolist(), off_diagonal)
    assert barlow_twins_loss(z1, z2, off_diagonal, scale).item() == pytest.approx(expected, rel=1e-4)


def test_loss_is_lightlys_whose_deviation_is_over_n_too():
    torchvision()  # lightly imports it
    theirs = pytest.importorskip("lightly.loss").BarlowTwinsLoss(lambda_param=0.02)
    z1, z2 = rows(6, 5, 0), rows(6, 5, 1)
    assert barlow_twins_loss(z1, z2, 0.02, 1.0).item() == pytest.approx(theirs(z1, z2).item(), rel=1e-5)


def signs():
    """Four rows whose three columns have mean 0 and are uncorrelated."""
    return torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


def test_closed_forms():
    one = signs()
    assert barlow_twins_loss(one, 5 * one + 2, 0.3, 1.0).item() == pytest.approx(
        0, abs=1e-4
    )  # scale and shift are lost
    assert barlow_twins_loss(one, -one, 0.3, 1.0).item() == pytest.approx(3 * 4, rel=1e-4)  # c is minus one thrice
    assert barlow_twins_loss(one, one.roll(1, 1), 0.3, 1.0).item() == pytest.approx(3 + 3 * 0.3, rel=1e-4)
    same = one[:, :1].repeat(1, 3)  # three times the same feature: all of c is one
    assert barlow_twins_loss(same, same, 0.3, 1.0).item() == pytest.approx(6 * 0.3, rel=1e-4)


def test_features_without_deviation_are_uncorrelated():
    z = torch.cat([signs(), torch.full((4, 1), 7.0)], 1)
    assert barlow_twins_loss(z, z, 0.3, 1.0).item() == pytest.approx(1, rel=1e-4)  # the dead one's (1 - 0)^2


def test_gradient_is_right_and_reaches_both_views():
    z1, z2 = (rows(5, 3, seed).double().requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(lambda a, b: barlow_twins_loss(a, b, 0.1, 0.5), (z1, z2))


def test_bfloat16_is_computed_in_float32():
    z1, z2 = (rows(6, 4, seed).bfloat16() for seed in (0, 1))
    with torch.autocast("cpu", torch.bfloat16):
        loss = barlow_twins_loss(z1, z2, 0.1, 1.0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(oracle.barlow_twins(z1.tolist(), z2.tolist(), 0.1), rel=1e-3)


def test_two_processes_have_the_loss_and_the_gradient_of_one(monkeypatch):
    """Two threads stand for the processes: each waits for the other's summand, with its gradient."""
    whole = [rows(8, 3, seed).double().requires_grad_() for seed in (0, 1)]
    one = barlow_twins_loss(*whole, 0.1, 1.0)
    expected = torch.autograd.grad(one, whole)
    summands, meeting, losses = [None, None], threading.Barrier(2, timeout=5), [None, None]

    def total(x):
        summands[int(threading.current_thread().name)] = x
        meeting.wait()
        both = summands[0] + summands[1]
        meeting.wait()
        return both

    def run(rank):
        losses[rank] = barlow_twins_loss(*(z[4 * rank : 4 * rank + 4] for z in whole), 0.1, 1.0)

    monkeypatch.setattr(dist, "world", lambda: 2)
    monkeypatch.setattr(dist, "total", total)
    threads = [threading.Thread(target=run, args=(rank,), name=str(rank)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for loss in losses:
        torch.testing.assert_close(loss, one)
    for found, right in zip(torch.autograd.grad(sum(losses) / 2, whole), expected, strict=True):
        torch.testing.assert_close(found, right)


def test_the_method_has_the_loss_of_its_projections():
    method, feed = made()
    views = feed(0)
    z1, z2 = (method.net(view)[1].tolist() for view in (views.first, views.second))
    step = method.loss(views)
    assert step.loss.item() == pytest.approx(0.1 * oracle.barlow_twins(z1, z2, 0.0051), rel=1e-3)
    assert torch.equal(step.loss, method.loss(views).loss)
    assert [f.shape for f in step.features] == [(8, 64), (8, 64)]
    assert torch.equal(step.features[1], method.net.backbone(views.second))
    assert 0 < step.logs["feature_std"].item() < 1.5


def test_training_lowers_the_loss(tmp_path):
    method, feed = made(batch_size=32)
    device = Device(torch.device("cpu"), bf16=False)
    curve = fit(method, feed, OPTIM, num_steps=15, seed=0, device=device, state=tmp_path, save_seconds=1e9)
    assert curve[-1]["loss"] < 0.8 * curve[0]["loss"]
