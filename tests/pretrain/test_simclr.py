"""SimCLR against its equation, lightly's class, its closed form, and over two processes."""

import math

import pytest
import torch
import torch.nn.functional as F

from pipeline.base.torchvision_import import torchvision
from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.parallel import dist
from pipeline.pretrain.feed import Feed
from pipeline.pretrain.methods.simclr import Simclr, SimclrParams, simclr_loss
from tests.digits import CONTRASTIVE, OPTIM, backbone, digits
from tests.oracles import simclr as oracle

PARAMS = {"dim": 8, "hidden_dim": 16, "head_layers": 2, "temperature": 0.5}


def unit(n, d, seed):
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def made(batch_size=8, **changes):
    method = Simclr(backbone(), SimclrParams(**{**PARAMS, **changes}), 300, torch.Generator().manual_seed(0))
    return method, Feed(digits()[0][:300], (CONTRASTIVE, CONTRASTIVE), None, batch_size, seed=0)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_loss_is_the_papers(temperature):
    z1, z2 = unit(5, 4, 0), unit(5, 4, 1)
    expected = oracle.simclr(z1.tolist(), z2.tolist(), temperature)
    assert simclr_loss(z1, z2, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_loss_is_lightlys():
    torchvision()  # lightly imports it
    ntxent = pytest.importorskip("lightly.loss").NTXentLoss(temperature=0.2)
    z1, z2 = unit(6, 5, 0), unit(6, 5, 1)
    assert simclr_loss(z1, z2, 0.2).item() == pytest.approx(ntxent(z1, z2).item(), rel=1e-5)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_with_all_vectors_equal_the_loss_is_log_of_the_other_views(n):
    same = unit(1, 4, 0).repeat(n, 1)
    assert simclr_loss(same, same, 0.07).item() == pytest.approx(math.log(2 * n - 1), rel=1e-5, abs=1e-6)


def test_which_view_is_first_does_not_matter():
    z1, z2 = unit(5, 4, 0), unit(5, 4, 1)
    torch.testing.assert_close(simclr_loss(z1, z2, 0.2), simclr_loss(z2, z1, 0.2))


def test_gradient_is_right_and_reaches_both_views_as_keys_too():
    z1, z2 = (unit(3, 4, seed).double().requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(lambda a, b: simclr_loss(a, b, 0.2), (z1, z2))


def test_bfloat16_is_computed_in_float32():
    z1, z2 = (unit(5, 4, seed).bfloat16() for seed in (0, 1))
    loss = simclr_loss(z1, z2, 0.1)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(simclr_loss(z1.float(), z2.float(), 0.1).item(), rel=1e-6)


def test_two_processes_have_the_loss_and_the_gradient_of_one(monkeypatch):
    whole = [unit(6, 4, seed).double().requires_grad_() for seed in (0, 1)]
    one = simclr_loss(*whole, 0.2)
    expected = torch.autograd.grad(one, whole)
    losses = []
    monkeypatch.setattr(dist, "world", lambda: 2)
    for rank in range(2):
        monkeypatch.setattr(dist, "rank", lambda rank=rank: rank)
        parts = [z[dist.share(6, "rows")] for z in whole]
        gathered = iter(whole)
        monkeypatch.setattr(dist, "gather", lambda _, gathered=gathered: next(gathered))
        losses.append(simclr_loss(*parts, 0.2))
    mean = sum(losses) / 2
    torch.testing.assert_close(mean, one)
    for found, right in zip(torch.autograd.grad(mean, whole), expected, strict=True):
        torch.testing.assert_close(found, right)


def test_batch_norm_sees_both_views():
    """The second view of all images changes the features of the first, in a loss of the first alone."""
    method, feed = made()
    views = feed(0)
    features = method.loss(views).features
    assert [f.shape for f in features] == [(8, 64), (8, 64)]
    assert features[0].requires_grad
    both = method.net.backbone(torch.cat([views.first, views.second]))
    torch.testing.assert_close(torch.cat(list(features)), both)
    assert not torch.allclose(features[0], method.net.backbone(views.first))


@pytest.mark.parametrize(("layers", "linear", "norms"), [(1, 1, 0), (2, 2, 1), (3, 3, 2)])
def test_layers_of_the_head(layers, linear, norms):
    head = made(head_layers=layers)[0].net.head
    assert sum(isinstance(layer, torch.nn.Linear) for layer in head) == linear
    assert sum(isinstance(layer, torch.nn.BatchNorm1d) for layer in head) == norms


def test_the_method_has_the_loss_of_its_projections():
    method, feed = made()
    views = feed(0)
    _, z = method.net(torch.cat([views.first, views.second]))
    z = F.normalize(z, dim=1).tolist()
    step = method.loss(views)
    assert step.loss.item() == pytest.approx(oracle.simclr(z[:8], z[8:], 0.5), rel=1e-4)
    assert torch.equal(step.loss, method.loss(views).loss)
    assert 0 < step.logs["feature_std"].item() < 1.5


def test_training_lowers_the_loss(tmp_path):
    method, feed = made(batch_size=32)
    device = Device(torch.device("cpu"), bf16=False)
    rows = fit(method, feed, OPTIM, num_steps=15, seed=0, device=device, state=tmp_path, save_seconds=1e9)
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.2
