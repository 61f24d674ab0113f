"""The losses as pure functions: against the papers in loops, and their gradients."""

import math

import pytest
import torch

from pipeline.nn.contrast import nt_xent, sup_con
from pipeline.nn.turns import rotation_loss
from pipeline.pretrain.bootstrap import byol_loss
from pipeline.pretrain.instance_bank import nce_loss, softmax_loss
from pipeline.pretrain.masked import hidden_error
from pipeline.pretrain.methods.barlow_twins import barlow_twins_loss
from pipeline.pretrain.methods.dino import dino_targets
from pipeline.pretrain.methods.exemplar import exemplar_loss
from pipeline.pretrain.methods.mae import mae_loss
from pipeline.pretrain.methods.ncc import scattering_loss
from pipeline.pretrain.methods.simreg import simreg_loss
from pipeline.pretrain.methods.simsiam import simsiam_loss
from pipeline.pretrain.methods.swav import swav_codes
from pipeline.pretrain.methods.uml import episode_loss
from pipeline.pretrain.methods.vicreg import vicreg_loss
from pipeline.pretrain.prototypes import swapped_loss
from tests.oracles import (
    barlow_twins,
    byol,
    dino,
    gcd,
    ncc,
    npid,
    pretext,
    simclr,
    swav,
    uml,
    vicreg,
)
from tests.oracles.algebra import dot
from tests.pretrain import queue_losses
from tests.pretrain.cases import Case, projections, some
from tests.pretrain.family import on_two_ranks, unit

INSTANCE, NOISE = torch.tensor([4, 0, 4]), torch.tensor([1, 6, 4, 1, 5])
HIDDEN = torch.tensor([[True, False, True], [False, True, True]])
UNKNOWN = torch.tensor(-math.inf)


def swav_case(num_views):
    z, prototypes = unit(num_views, 6, 4, seed=0), unit(5, 4, seed=1)
    codes = torch.stack([swav_codes(view, prototypes, 0.05, 3) for view in z[:2]])
    return Case(
        lambda z, prototypes, q: swapped_loss(z, q, prototypes, 0.1),
        lambda z, prototypes, q: swav.loss(z, q, prototypes, 0.1),
        [z, prototypes, codes],
        2,
    )


def dino_case(num_views):
    z, prototypes, scores, centre = unit(num_views, 6, 4, seed=0), unit(5, 4, seed=1), some(2, 12, 5), some(3, 1, 5)[0]

    def looped(z, prototypes, scores, centre):
        student = [[[dot(row, prototype) for prototype in prototypes] for row in view] for view in z]
        return dino.loss(student, [scores[:6], scores[6:]], centre, 0.1, 0.5)

    return Case(
        lambda z, prototypes, scores, centre: swapped_loss(
            z, dino_targets(scores, centre, 0.5).unflatten(0, (2, 6)), prototypes, 0.1
        ),
        looped,
        [z, prototypes, scores, centre],
        2,
    )


CASES: dict[str, Case] = {
    **queue_losses.CASES,
    "byol": Case(byol_loss, byol.byol, [some(seed) for seed in range(4)], 2),
    "simsiam": Case(simsiam_loss, lambda *x: 1 + byol.simsiam(*x), [some(seed) for seed in range(4)], 2),
    "simreg": Case(simreg_loss, byol.simreg, [some(seed) for seed in range(2)], 1),
    "npid": Case(
        lambda q, bank: softmax_loss(q, bank, INSTANCE, 0.1),
        lambda q, bank: npid.softmax(q, bank, INSTANCE.tolist(), 0.1),
        projections(3, 7),
        1,
    ),
    "npid, NCE, Z estimated": Case(
        lambda q, bank: nce_loss(q, bank, INSTANCE, NOISE, UNKNOWN, 0.3)[0],
        lambda q, bank: npid.nce(
            q, bank, INSTANCE.tolist(), NOISE.tolist(), npid.constant(q, bank, NOISE.tolist(), 0.3), 0.3
        ),
        projections(3, 7),
        0,  # no gradient passes the estimate, so finite differences do not hold
    ),
    "exemplar": Case(
        lambda q, classes: exemplar_loss(q, classes, INSTANCE, 0.3),
        lambda q, classes: pretext.exemplar(q, classes, INSTANCE.tolist(), 0.3),
        [unit(2, 3, 4, seed=0), some(1, 7)],
        2,
    ),
    "mae": Case(
        lambda painted, patches: mae_loss(painted, patches, HIDDEN),
        lambda painted, patches: pretext.mae(painted, patches, HIDDEN.tolist()),
        [some(0, 6).unflatten(0, (2, 3)), some(1, 6).unflatten(0, (2, 3))],
        1,
    ),
    "maskfeat": Case(
        lambda found, targets: hidden_error(found, targets, HIDDEN),
        lambda found, targets: pretext.hidden_error(found, targets, HIDDEN.tolist()),
        [some(0, 6).unflatten(0, (2, 3)), some(1, 6).unflatten(0, (2, 3))],
        1,
    ),
    "rotation": Case(rotation_loss, pretext.rotation, [some(0, 20).unflatten(0, (4, 5))], 1),
}
TASKS = torch.tensor([[3, 0, 1], [4, 1, 2]])
for mixes in (0, 1, 4):
    CASES[f"uml, {mixes} mixes"] = Case(
        lambda q, p, s: episode_loss(q, p, TASKS, s),
        lambda q, p, s: uml.episodes(q, p, TASKS.tolist(), s),
        [some(0, 10).unflatten(0, (2, 5)), *projections(5), some(2, 10, mixes).unflatten(0, (2, 5)).sigmoid() / 2],
        3 if mixes else 2,
    )
for labels in ([0, 0, 1, 1, 3, 3], [-1, 4, 2, 4, -1, 2], [1, 1, 1, 1, 1, 1]):
    CASES[f"ncc, {labels}"] = Case(
        lambda q, k, labels=labels: scattering_loss(q, k, torch.tensor(labels), 5, 0.5),
        lambda q, k, labels=labels: ncc.scattering(q, k, labels, 0.5),
        projections(6, 6),
        1 if len(set(labels)) > 1 else 0,  # one cluster alone costs nothing
    )
for t in (0.1, 0.5):
    CASES[f"simclr, T {t}"] = Case(
        lambda *z, t=t: nt_xent(*z, t), lambda *z, t=t: simclr.simclr(*z, t), projections(5, 5), 2
    )
for labels in ([0, 0, 1, 1, 3], [2, 2, 2, 2, 2], [0, 1, 2, 3, 4]):
    CASES[f"sup_con, {labels}"] = Case(
        lambda *z, of=labels: sup_con(*z, torch.tensor(of), 0.2),
        lambda *z, of=labels: gcd.sup_con(*z, of, 0.2),
        projections(5, 5),
        2,
    )
for weight, scale in ((0.0, 1.0), (0.5, 1.0), (0.0051, 0.1), (1.0, 2.0)):
    CASES[f"barlow_twins, {weight}, {scale}"] = Case(
        lambda *z, w=weight, s=scale: barlow_twins_loss(*z, w, s),
        lambda *z, w=weight, s=scale: s * barlow_twins.barlow_twins(*z, w),
        [some(0, 6), some(1, 6)],
        2,
        1e-4,  # the variance has a summand against division by zero
    )
for name, scale, weights in (
    ("spread", 1.0, (25.0, 25.0, 1.0)),
    ("narrow", 0.1, (25.0, 25.0, 1.0)),
    ("uneven", 0.1, (2.0, 3.0, 5.0)),
):
    CASES[f"vicreg, {name}"] = Case(
        lambda *z, w=weights: vicreg_loss(*z, *w),
        lambda *z, w=weights: vicreg.vicreg(*z, *w),
        [scale * some(0, 6), scale * some(1, 6)],
        2,
    )
for z in (0.5, 7.0, 40.0):
    CASES[f"npid, NCE, Z {z}"] = Case(
        lambda q, bank, z=z: nce_loss(q, bank, INSTANCE, NOISE, torch.tensor(z).double().log(), 0.3)[0],
        lambda q, bank, z=z: npid.nce(q, bank, INSTANCE.tolist(), NOISE.tolist(), z, 0.3),
        projections(3, 7),
        1,
    )
for views in (2, 3, 8):
    CASES[f"swav, {views} views"] = swav_case(views)
    CASES[f"dino, {views} views"] = dino_case(views)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_loss_is_the_papers(case):
    inputs = [x.double() for x in case.inputs]
    assert case.loss(*inputs).item() == pytest.approx(case.oracle(*(x.tolist() for x in inputs)), rel=case.rel)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_gradient_is_right_and_stops_where_the_paper_says(case):
    inputs = [x.double().requires_grad_() for x in case.inputs]
    moved, still = inputs[: case.moved], inputs[case.moved :]
    if moved:
        constants = [x.detach() for x in still]
        assert torch.autograd.gradcheck(lambda *x: case.loss(*x, *constants), moved)
        case.loss(*inputs).backward()
        assert all(x.grad.abs().sum() > 0 for x in moved)
        assert all(x.grad is None for x in still)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_bfloat16_is_computed_in_float32(case):
    moved, still = case.inputs[: case.moved], [x.float() for x in case.inputs[case.moved :]]
    halves = [x.bfloat16() for x in moved]
    with torch.autocast("cpu", torch.bfloat16):
        loss = case.loss(*halves, *still)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, case.loss(*(x.float() for x in halves), *still))


@pytest.mark.parametrize(
    "loss",
    [
        lambda z1, z2, _: nt_xent(z1, z2, 0.2),
        lambda z1, z2, part: sup_con(z1, z2, part % 2, 0.2),
        lambda z1, z2, _: barlow_twins_loss(z1, z2, 0.1, 1.0),
        lambda z1, z2, _: vicreg_loss(z1, z2, 25.0, 25.0, 1.0),
        lambda z1, _, part: nce_loss(z1, unit(7, 3, seed=2).double(), part, NOISE, UNKNOWN, 0.3)[0],
    ],
    ids=["simclr", "sup_con", "barlow_twins", "vicreg", "npid, NCE"],
)
def test_two_processes_have_the_loss_and_the_gradient_of_one(loss, monkeypatch):
    whole, instance = [unit(6, 3, seed=seed).double().requires_grad_() for seed in (0, 1)], torch.arange(6)
    one = loss(*whole, instance)
    expected = torch.autograd.grad(one, whole, allow_unused=True)
    parts = [slice(0, 3), slice(3, 6)]
    both = on_two_ranks(lambda rank: loss(*(z[parts[rank]] for z in whole), instance[parts[rank]]), monkeypatch)
    mean = sum(both) / 2
    torch.testing.assert_close(mean, one)
    for found, right in zip(torch.autograd.grad(mean, whole, allow_unused=True), expected, strict=True):
        torch.testing.assert_close(found, right)
