"""What losses are where it can be said without a loop, and where one is another."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from pipeline.nn.contrast import nt_xent
from pipeline.nn.memory import nearest_rows
from pipeline.nn.primitives import soft_ce
from pipeline.nn.turns import rotation_loss
from pipeline.pretrain.bootstrap import byol_loss
from pipeline.pretrain.instance_bank import nce_loss, softmax_loss
from pipeline.pretrain.methods.ascl import ascl_loss
from pipeline.pretrain.methods.barlow_twins import barlow_twins_loss
from pipeline.pretrain.methods.cmsf import cmsf_loss
from pipeline.pretrain.methods.dino import dino_targets
from pipeline.pretrain.methods.exemplar import exemplar_loss
from pipeline.pretrain.methods.interclr import Drawn, inter_loss
from pipeline.pretrain.methods.mae import mae_loss
from pipeline.pretrain.methods.mira import mira_targets
from pipeline.pretrain.methods.mochi import mochi_loss
from pipeline.pretrain.methods.msf import msf_loss
from pipeline.pretrain.methods.ncc import scattering_loss
from pipeline.pretrain.methods.simreg import simreg_loss
from pipeline.pretrain.methods.simsiam import simsiam_loss
from pipeline.pretrain.methods.swav import swav_codes
from pipeline.pretrain.methods.uml import episode_loss
from pipeline.pretrain.methods.vicreg import vicreg_loss
from pipeline.pretrain.methods.xmoco import crossed, uneven
from pipeline.pretrain.momentum_contrast import moco_loss
from pipeline.pretrain.prototypes import swapped_loss
from tests.oracles import mochi
from tests.pretrain.cases import projections, some
from tests.pretrain.family import unit
from tests.pretrain.queue_losses import mixes, neighbours
from tests.pretrain.test_losses import HIDDEN, INSTANCE, NOISE, UNKNOWN


def same(n, d=4):
    return unit(1, d, seed=0).repeat(n, 1)


def signs():
    """Four rows whose three columns have mean 0 and are uncorrelated."""
    return torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


def even_swav(num_views):
    prototypes = same(9)
    q = torch.stack([swav_codes(same(6), prototypes, 0.05, 3)] * 2)
    return swapped_loss(same(6).expand(num_views, 6, 4), q, prototypes, 0.1)


def even_mira():
    w = mira_targets(same(6).expand(2, 6, 4), same(9), 0.225, 0.75, 30)
    return swapped_loss(same(6).expand(2, 6, 4), w, same(9), 0.1)


def even_inter(margin):
    """Five negatives."""
    drawn = Drawn.of(9, 6, 5, torch.device("cpu"))
    return inter_loss(same(3), same(9), torch.tensor([0, 1, 0]), torch.arange(9) % 3, drawn, 0.2, margin, 6)


ONE = unit(5, 4, seed=0)
DEAD = torch.cat([signs(), torch.full((4, 1), 7.0)], 1)
CLOSED_FORMS: dict[str, tuple[Any, float]] = {
    "moco, equal vectors": (moco_loss(same(3), same(3), same(9), 0.07), math.log(10)),
    "moco, no negatives": (moco_loss(ONE, ONE.flip(0), torch.empty(0, 4), 0.2), 0),
    "xmoco, at its key": (crossed(unit(5, 4, seed=0), unit(5, 4, seed=0)), 0),
    "xmoco, one image": (crossed(unit(1, 4, seed=0), unit(1, 4, seed=1)), 0),
    "xmoco, equal rows": (uneven(unit(5, 4, seed=0), same(9), 0.07), 0),
    "mochi, equal vectors": (mochi_loss(same(3), same(3), same(9), 0.07, 5, mixes(5, 4, 3)), math.log(17)),
    "interclr, equal vectors": (even_inter(0.0), math.log(6)),
    "interclr, a margin at equal vectors": (even_inter(0.5), math.log(1 + 5 * math.exp(-0.5 / 0.2))),
    "ascl, rows all alike": (ascl_loss(same(3), same(3), same(9), 0.07, 0.05, 5.0), math.log(10)),
    "ascl, a row is the key": (
        ascl_loss(torch.eye(3)[:1], torch.eye(3)[:1], torch.eye(3), 0.2, 0.01, 1.0), math.log(2 + 2 * math.exp(-5))
    ),
    "simclr, one image": (nt_xent(same(1), same(1), 0.07), 0),
    "simclr, equal vectors": (nt_xent(same(7), same(7), 0.07), math.log(13)),
    "simreg, the teacher's own features": (simreg_loss(3 * some(0), some(0)), 0.0),
    "simreg, the opposite": (simreg_loss(-some(0), some(0)), 4.0),
    "dino, an even student": (
        swapped_loss(same(6).expand(4, 6, 4), dino_targets(some(0, 12, 9), torch.zeros(9), 0.04).unflatten(0, (2, 6)),
                     same(9), 0.1),
        math.log(9),
    ),
    "swav, equal vectors": (even_swav(2), math.log(9)),
    "swav, equal vectors, small views": (even_swav(4), math.log(9)),
    "mira, equal vectors": (even_mira(), math.log(9)),
    "npid, equal vectors": (softmax_loss(same(3), same(7), INSTANCE, 0.005), math.log(7)),
    "exemplar, classes that point one way": (
        exemplar_loss(unit(2, 3, 4, seed=0), torch.arange(1.0, 8)[:, None] * same(7), INSTANCE, 0.1), math.log(7)
    ),
    "uml, equal prototypes": (
        episode_loss(some(0, 6)[None], same(6), torch.tensor([[0, 3, 5]]), torch.zeros(1, 6, 2)), math.log(5)
    ),
    "mae, zeros": (mae_loss(torch.zeros(2, 3, 4), some(0, 6).unflatten(0, (2, 3)), HIDDEN), 3 / 4),
    "byol at its target": (byol_loss(3 * ONE, ONE / 2, ONE, ONE), 0),
    "byol, away from it": (byol_loss(-ONE, -ONE, ONE, ONE), 8),
    "byol, one of both": (byol_loss(ONE, -ONE, ONE, ONE), 4),
    "simsiam at its target": (simsiam_loss(3 * ONE, ONE / 2, ONE, ONE), 0),
    "simsiam, away from it": (simsiam_loss(-ONE, -ONE, ONE, ONE), 2),
    "ncc, equal centres": (scattering_loss(same(6), same(6), torch.tensor([0, 0, 1, 3, 3, -1]), 5, 0.5), math.log(3)),
    "ncc, no cluster yet": (scattering_loss(same(6), same(6), torch.full((6,), -1), 5, 0.5), 0),
    "ncc, clusters at right angles": (
        scattering_loss(torch.eye(4), torch.eye(4), torch.arange(4), 4, 0.5), math.log(1 + 3 * math.exp(-2))
    ),
    "msf at its target": (msf_loss(2 * same(1), same(1), same(9), 5), 0),
    "msf, away from it": (msf_loss(-same(1), same(1), same(9), 5), 4),
    "barlow twins lose scale and shift": (barlow_twins_loss(signs(), 5 * signs() + 2, 0.3, 1.0), 0),
    "barlow twins, all correlations -1": (barlow_twins_loss(signs(), -signs(), 0.3, 1.0), 3 * 4),
    "barlow twins, features exchanged": (barlow_twins_loss(signs(), signs().roll(1, 1), 0.3, 1.0), 3 + 3 * 0.3),
    "barlow twins, one feature thrice": (
        barlow_twins_loss(signs()[:, :1].repeat(1, 3), signs()[:, :1].repeat(1, 3), 0.3, 1.0), 6 * 0.3
    ),
    "vicreg, equal vectors": (vicreg_loss(same(6), same(6), 25.0, 25.0, 1.0), 24.75),
    "vicreg, uncorrelated features that spread": (vicreg_loss(signs(), signs(), 25.0, 25.0, 1.0), 0),
    "vicreg, opposite views": (vicreg_loss(signs(), -signs(), 25.0, 25.0, 1.0), 100),
    "rotation, equal logits": (rotation_loss(torch.full((4, 5, 4), 7.0)), math.log(4)),
    "rotation, known": (rotation_loss(1e4 * torch.eye(4)[:, None].expand(4, 5, 4)), 0),
    "barlow twins, a feature without deviation": (barlow_twins_loss(DEAD, DEAD, 0.3, 1.0), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms(name):
    loss, expected = CLOSED_FORMS[name]
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.005])
def test_nce_of_equal_vectors(temperature):
    """h is 1 / (1 + m). No power of e overflows, however low the temperature."""
    loss, log_z = nce_loss(same(3), same(7), INSTANCE, NOISE, UNKNOWN, temperature)
    assert log_z.item() == pytest.approx(1 / temperature + math.log(7), rel=1e-4)
    assert loss.item() == pytest.approx(math.log(6) - 5 * math.log(5 / 6), rel=1e-3)


def test_nce_keeps_a_known_constant_and_passes_no_gradient_to_it():
    q, bank = (x.double().requires_grad_() for x in projections(3, 7))
    known = torch.tensor(2.0, dtype=torch.double, requires_grad=True)
    loss, log_z = nce_loss(q, bank, INSTANCE, NOISE, known, 0.3)
    loss.backward()
    assert log_z.item() == 2
    assert known.grad is None
    assert not log_z.requires_grad
    assert not nce_loss(q, bank, INSTANCE, NOISE, UNKNOWN.double(), 0.3)[1].requires_grad


def test_nce_tends_to_the_gradient_of_the_softmax():
    """With the right constant and much noise, as any noise-contrastive estimate does."""
    q, bank, instance = unit(1, 4, seed=0).requires_grad_(), unit(7, 4, seed=1), torch.tensor([2])
    log_z = (q @ bank.T / 0.5).logsumexp(1)[0].detach()
    noise = torch.randint(7, (40_000,), generator=torch.Generator().manual_seed(0))
    (found,) = torch.autograd.grad(nce_loss(q, bank, instance, noise, log_z, 0.5)[0], q)
    (expected,) = torch.autograd.grad(softmax_loss(q, bank, instance, 0.5), q)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


def test_reductions_of_one_loss_to_another():
    p1, p2, z1, z2 = (some(seed) for seed in range(4))
    torch.testing.assert_close(4 * simsiam_loss(p1, p2, z1, z2), byol_loss(p1, p2, z1, z2))
    torch.testing.assert_close(byol_loss(p2, p1, z2, z1), byol_loss(p1, p2, z1, z2))
    q, bank = unit(2, 3, 4, seed=0), unit(7, 4, seed=1)
    as_npid = softmax_loss(q.flatten(0, 1), bank, INSTANCE.repeat(2), 0.1)
    torch.testing.assert_close(exemplar_loss(q, 3 * bank, INSTANCE, 0.1), as_npid)
    torch.testing.assert_close(ascl_loss(z1, z2, p1, 0.2, 0.1, 0.0), moco_loss(z1, z2, p1, 0.2))
    torch.testing.assert_close(mochi_loss(z1, z2, p1, 0.2, 3, mixes(3, 0, 0)), moco_loss(z1, z2, p1, 0.2))
    v, u, w, memory, earlier = neighbours()
    alone = byol_loss(v, u, u, u)  # the second direction is 0
    torch.testing.assert_close(msf_loss(v, u, memory, 1), alone)
    plain = msf_loss(v, u, memory, 3)
    for same_as_msf in (
        cmsf_loss(v, u, w, memory, earlier, 3, 0),
        cmsf_loss(v, u, 0 * w, memory, earlier, 3, 3),  # nothing was seen before
        cmsf_loss(v, u, w, memory, 0 * earlier, 3, 3),
        cmsf_loss(v, u, u, memory, memory, 3, 9),  # earlier embeddings are those of now
        cmsf_loss(v, u, w, memory, earlier, 3, 16),  # the constraint leaves all rows
    ):
        torch.testing.assert_close(same_as_msf, plain)


def test_mochi_is_never_below_moco_and_its_mixes_pass_no_gradient():
    """The gradient is that of MoCo with the mixes as constant rows of each query's own queue."""
    q, k, queue = projections(5, 5, 7)
    q.requires_grad_()
    drawn = mixes(4, 6, 6)
    loss = mochi_loss(q, k, queue, 0.2, 4, drawn)
    assert (loss > moco_loss(q, k, queue, 0.2)).item()
    (found,) = torch.autograd.grad(loss, q)
    lists = [part.tolist() for part in drawn]
    rows = [torch.tensor(mochi.made(x, queue.tolist(), 4, lists), dtype=torch.double) for x in q.tolist()]
    each = [moco_loss(q[i : i + 1], k[i : i + 1], torch.cat([queue, rows[i]]), 0.2) for i in range(5)]
    torch.testing.assert_close(found, torch.autograd.grad(sum(each) / 5, q)[0])


def test_with_hard_codes_swav_is_the_cross_entropy_of_the_other_views_prototype():
    """As many prototypes as images and epsilon near 0: each image has one to itself."""
    prototypes = unit(6, 4, seed=0)
    order = torch.tensor([2, 0, 1, 5, 3, 4])
    z = torch.stack([prototypes[order], unit(6, 4, seed=1)])
    q = swav_codes(z[0], prototypes, 1e-3, 3)
    torch.testing.assert_close(q, F.one_hot(order, 6).float())
    loss = swapped_loss(z, torch.stack([q, q]), prototypes, 0.1)
    expected = (soft_ce(z[1], prototypes, order, 0.1) + soft_ce(z[0], prototypes, order, 0.1)) / 2
    torch.testing.assert_close(loss, expected)


def test_mean_shift_goes_to_the_mean_of_the_neighbours():
    """The gradient at v is along the sum of its neighbours, as far as it is across v."""
    v, u = unit(1, 4, seed=0).requires_grad_(), unit(1, 4, seed=1)
    memory = torch.cat([u, unit(20, 4, seed=2)])
    msf_loss(v, u, memory, 5).backward()
    mean = memory[nearest_rows(u, memory, 5)[0]].mean(0)
    torch.testing.assert_close(v.grad[0], (-2 * (mean - (mean @ v[0]) * v[0])).detach())
