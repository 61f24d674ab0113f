"""NPID: its noise, its bank and its constant; the losses' own tests are in test_losses.py."""

import math

import pytest
import torch
import torch.nn.functional as F

from pipeline.pretrain.feed import Views
from tests.digits import self_supervised
from tests.oracles import npid as oracle
from tests.pretrain.family import seeded_loss


def projections(method, views):
    return F.normalize(method.encoder(torch.cat([views.first, views.second]))[1], dim=1).detach()


def test_the_method_draws_its_noise_from_torchs_chance():
    method, feed = self_supervised("npid", negatives=32)
    views = feed(0)
    q, rows = projections(method, views).tolist(), method.bank.rows.tolist()
    torch.manual_seed(3)
    noise = torch.randint(300, (32,)).tolist()
    expected = oracle.nce(q, rows, views.rows.tolist() * 2, noise, oracle.constant(q, rows, noise, 0.1), 0.1)
    assert seeded_loss(method, views, 3).loss.item() == pytest.approx(expected, rel=1e-3)
    assert seeded_loss(method, views, 4).loss.item() != pytest.approx(expected, rel=1e-3)


def test_the_bank_moves_to_the_mean_of_both_views_and_only_where_they_are():
    method, feed = self_supervised("npid", negatives=0, bank_momentum=0.8)
    before, views = method.bank.rows.clone(), feed(0)
    other = Views(1 - views.first, 1 - views.second, views.local, views.rows)  # as unlike as views of a row can be
    first, second = (projections(method, v).unflatten(0, (2, 8)).mean(0) for v in (views, other))
    expected = F.normalize(first, dim=1)
    for step, batch in ((1, views), (2, other)):
        method.loss(batch)
        method.after_step(step, 10)
        torch.testing.assert_close(method.bank.rows[views.rows], expected, rtol=1e-4, atol=1e-5)
        expected = F.normalize(0.8 * expected + 0.2 * second, dim=1)
    assert (method.bank.rows == before).all(dim=1).sum() == 292


def test_the_constant_is_the_first_batchs_and_in_the_state():
    method, feed = self_supervised("npid", negatives=32)
    assert method.log_z.item() == -math.inf
    seen = []
    for step in range(3):
        method.loss(feed(step))
        method.after_step(step + 1, 10)
        seen.append(method.log_z.item())
    assert math.isfinite(seen[0])
    assert seen == [seen[0]] * 3
    assert method.state_dict()["log_z"].item() == seen[0]
