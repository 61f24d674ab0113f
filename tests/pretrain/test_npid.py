"""NPID against its equations and closed forms, its bank, its constant, and over two processes."""

import math

import pytest
import torch
import torch.nn.functional as F

from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.parallel import dist
from pipeline.pretrain.feed import Feed, Views
from pipeline.pretrain.methods.npid import Npid, NpidParams, nce_loss, softmax_loss
from tests.digits import CONTRASTIVE, OPTIM, backbone, digits
from tests.oracles import npid as oracle

PARAMS = {"dim": 8, "head_norm": True, "temperature": 0.1, "negatives": 0, "bank_keep": 0.5}
OWN, NOISE = torch.tensor([4, 0, 4]), torch.tensor([1, 6, 4, 1, 5])
UNKNOWN = torch.tensor(-math.inf)


def unit(n, d, seed):
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def made(batch_size=8, **changes):
    method = Npid(backbone(), NpidParams(**{**PARAMS, **changes}), 300, torch.Generator().manual_seed(0))
    return method, Feed(digits()[0][:300], (CONTRASTIVE, CONTRASTIVE), None, batch_size, seed=0)


def projections(method, views):
    return F.normalize(method.net(torch.cat([views.first, views.second]))[1], dim=1).detach()


def test_softmax_loss_is_the_papers():
    q, bank = unit(3, 4, 0), unit(7, 4, 1)
    expected = oracle.softmax(q.tolist(), bank.tolist(), OWN.tolist(), 0.1)
    assert softmax_loss(q, bank, OWN, 0.1).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("z", [0.5, 7.0, 40.0])
def test_nce_loss_is_the_papers_and_keeps_a_constant_that_is_known(z):
    q, bank = unit(3, 4, 0), unit(7, 4, 1)
    loss, log_z = nce_loss(q, bank, OWN, NOISE, torch.tensor(z).log(), 0.3)
    expected = oracle.nce(q.tolist(), bank.tolist(), OWN.tolist(), NOISE.tolist(), z, 0.3)
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert log_z.item() == pytest.approx(math.log(z), rel=1e-5)


def test_the_constant_is_estimated_where_it_is_not_known():
    q, bank = unit(3, 4, 0), unit(7, 4, 1)
    loss, log_z = nce_loss(q, bank, OWN, NOISE, UNKNOWN, 0.3)
    z = oracle.constant(q.tolist(), bank.tolist(), NOISE.tolist(), 0.3)
    assert log_z.item() == pytest.approx(math.log(z), rel=1e-5)
    expected = oracle.nce(q.tolist(), bank.tolist(), OWN.tolist(), NOISE.tolist(), z, 0.3)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.005])
def test_closed_forms_with_all_vectors_equal(temperature):
    """The softmax is even; h is 1 / (1 + m). No power of e overflows, however cold."""
    q, bank = unit(1, 4, 0).repeat(3, 1), unit(1, 4, 0).repeat(7, 1)
    assert softmax_loss(q, bank, OWN, temperature).item() == pytest.approx(math.log(7), rel=1e-4)
    loss, log_z = nce_loss(q, bank, OWN, NOISE, UNKNOWN, temperature)
    assert log_z.item() == pytest.approx(1 / temperature + math.log(7), rel=1e-4)
    assert loss.item() == pytest.approx(math.log(6) - 5 * math.log(5 / 6), rel=1e-3)


def test_nce_tends_to_the_gradient_of_the_softmax():
    """With the right constant and much noise, as any noise-contrastive estimate does."""
    q, bank, own = unit(1, 4, 0).requires_grad_(), unit(7, 4, 1), torch.tensor([2])
    log_z = (q @ bank.T / 0.5).logsumexp(1)[0].detach()
    noise = torch.randint(7, (40_000,), generator=torch.Generator().manual_seed(0))
    (found,) = torch.autograd.grad(nce_loss(q, bank, own, noise, log_z, 0.5)[0], q)
    (expected,) = torch.autograd.grad(softmax_loss(q, bank, own, 0.5), q)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


def test_gradients_are_right_and_do_not_reach_the_bank_or_the_constant():
    q, bank = unit(3, 4, 0).double().requires_grad_(), unit(7, 4, 1).double().requires_grad_()
    log_z = torch.tensor(2.0, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q: softmax_loss(q, bank.detach(), OWN, 0.2), q)
    assert torch.autograd.gradcheck(lambda q: nce_loss(q, bank.detach(), OWN, NOISE, log_z.detach(), 0.2)[0], q)
    loss, kept = nce_loss(q, bank, OWN, NOISE, log_z, 0.2)
    (loss + softmax_loss(q, bank, OWN, 0.2)).backward()
    assert q.grad.abs().sum() > 0
    assert bank.grad is None
    assert log_z.grad is None
    assert not kept.requires_grad
    assert not nce_loss(q, bank, OWN, NOISE, UNKNOWN.double(), 0.2)[1].requires_grad


def test_two_processes_estimate_the_constant_of_one(monkeypatch):
    q, bank, own = unit(4, 4, 0), unit(7, 4, 1), torch.tensor([4, 0, 4, 2])
    one, log_z = nce_loss(q, bank, own, NOISE, UNKNOWN, 0.3)
    halves = [q[:2], q[2:]]
    means = [((half @ bank[NOISE].T / 0.3).exp().mean().log())[None] for half in halves]
    monkeypatch.setattr(dist, "gather", lambda _: torch.cat(means))
    both = [nce_loss(half, bank, own[i : i + 2], NOISE, UNKNOWN, 0.3) for i, half in zip((0, 2), halves, strict=True)]
    for _, found in both:
        torch.testing.assert_close(found, log_z)
    torch.testing.assert_close((both[0][0] + both[1][0]) / 2, one)


def test_the_method_has_the_mean_loss_of_both_views():
    method, feed = made()
    views = feed(0)
    q = projections(method, views).tolist()
    expected = oracle.softmax(q, method.others.bank.rows.tolist(), views.rows.tolist() * 2, 0.1)
    step = method.loss(views)
    assert step.loss.item() == pytest.approx(expected, rel=1e-4)
    assert [f.shape for f in step.features] == [(8, 64), (8, 64)]
    assert all(f.requires_grad for f in step.features)


def test_the_method_draws_its_noise_from_torchs_chance():
    method, feed = made(negatives=32)
    views = feed(0)
    q, rows = projections(method, views).tolist(), method.others.bank.rows.tolist()
    torch.manual_seed(3)
    noise = torch.randint(300, (32,)).tolist()
    z = oracle.constant(q, rows, noise, 0.1)
    torch.manual_seed(3)
    expected = oracle.nce(q, rows, views.rows.tolist() * 2, noise, z, 0.1)
    assert method.loss(views).loss.item() == pytest.approx(expected, rel=1e-3)
    assert not math.isclose(method.loss(views).loss.item(), expected, rel_tol=1e-3)


@pytest.mark.parametrize("negatives", [0, 32])
def test_loss_twice_gives_the_same_and_changes_nothing(negatives):
    method, feed = made(negatives=negatives)
    before = {name: t.clone() for name, t in method.others.state_dict().items()}
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        losses.append(method.loss(feed(0)).loss)
    assert torch.equal(*losses)
    assert all(torch.equal(before[name], t) for name, t in method.others.state_dict().items())


def test_the_bank_moves_to_the_mean_of_both_views_and_only_where_they_are():
    method, feed = made(bank_keep=0.8)
    bank = method.others.bank
    before = bank.rows.clone()
    views = feed(0)
    other = Views(1 - views.first, 1 - views.second, views.local, views.rows)  # as unlike as views of a row can be
    first, second = (projections(method, v).unflatten(0, (2, 8)).mean(0) for v in (views, other))
    method.loss(views)
    method.after_step(1, 10)
    torch.testing.assert_close(bank.rows[views.rows], F.normalize(first, dim=1), rtol=1e-4, atol=1e-5)
    method.loss(other)
    method.after_step(2, 10)
    again = F.normalize(0.8 * F.normalize(first, dim=1) + 0.2 * second, dim=1)
    torch.testing.assert_close(bank.rows[views.rows], again, rtol=1e-4, atol=1e-5)
    others = torch.ones(300, dtype=torch.bool)
    others[views.rows] = False
    assert torch.equal(bank.rows[others], before[others])
    method.after_step(3, 10)  # no loss since: nothing waits
    torch.testing.assert_close(bank.rows[views.rows], again, rtol=1e-4, atol=1e-5)


def test_the_constant_is_the_first_batchs_and_in_the_state():
    method, feed = made(negatives=32)
    assert method.state_dict()["others.log_z"].item() == -math.inf
    seen = []
    for step in range(3):
        method.loss(feed(step))
        method.after_step(step + 1, 10)
        seen.append(method.state_dict()["others.log_z"].item())
    assert math.isfinite(seen[0])
    assert seen == [seen[0]] * 3
    other, _ = made(negatives=32)
    other.load_state_dict(method.state_dict())
    other.loss(feed(3))
    other.after_step(4, 10)
    assert other.others.log_z.item() == seen[0]


@pytest.mark.parametrize(("head_norm", "layers"), [(False, 1), (True, 2)])
def test_the_head_is_linear_with_or_without_a_norm(head_norm, layers):
    method, _ = made(head_norm=head_norm)
    assert len(method.net.head) == layers
    assert isinstance(method.net.head[0], torch.nn.Linear)
    assert (method.net.head[0].bias is None) is head_norm


@pytest.mark.parametrize(("negatives", "rate"), [(0, 0.1), (16, 0.02)])
def test_training_lowers_the_loss(negatives, rate, tmp_path):
    """Few images, as each must be seen again before the bank tells anything of it."""
    params = NpidParams(**{**PARAMS, "negatives": negatives})
    method = Npid(backbone(), params, 32, torch.Generator().manual_seed(0))
    feed = Feed(digits()[0][:32], (CONTRASTIVE, CONTRASTIVE), None, 16, seed=0)
    optim = OPTIM.model_copy(update={"learning_rate": rate})
    device = Device(torch.device("cpu"), bf16=False)
    curve = fit(method, feed, optim, num_steps=20, seed=0, device=device, state=tmp_path, save_seconds=1e9)
    assert curve[-1]["loss"] < curve[0]["loss"] - 0.5
