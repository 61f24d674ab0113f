"""CMSF-self against its rule in loops, its reductions to MSF, and what it remembers."""

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from pipeline.base.errors import ParamsError
from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.pretrain.feed import Feed, Views
from pipeline.pretrain.methods.cmsf import Cmsf, CmsfParams, cmsf_loss
from pipeline.pretrain.methods.msf import Msf, MsfParams, msf_loss
from tests.digits import CONTRASTIVE, OPTIM, backbone, digits
from tests.oracles import msf as oracle

MSF = {"dim": 8, "hidden_dim": 16, "queue_size": 30, "neighbours": 3, "keep_start": 0.9, "keep_end": 1.0}
PARAMS = {**MSF, "constrained": 3}
CPU = Device(torch.device("cpu"), bf16=False)


def unit(n, d, seed):
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def learner(num_images=24, **changed):
    method = Cmsf(backbone(), CmsfParams(**{**PARAMS, **changed}), num_images, torch.Generator().manual_seed(0))
    return method, Feed(digits()[0][:num_images], (CONTRASTIVE, CONTRASTIVE), None, 8, seed=0)


def example(missing_w=(), missing_rows=()):
    """Six images, a memory of sixteen with them in front, and what is missing as rows of zeros."""
    v, u, w = unit(6, 4, 0), unit(6, 4, 1), unit(6, 4, 2)
    memory, earlier = torch.cat([u, unit(10, 4, 3)]), torch.cat([w, unit(10, 4, 4)])
    w[list(missing_w)] = 0
    earlier[[*missing_w, *missing_rows]] = 0
    return v, u, w, memory, earlier


def looped(v, u, w, memory, earlier, k, constrained):
    there = [[row if any(row) else None for row in x.tolist()] for x in (w, earlier)]
    return oracle.cmsf(v.tolist(), u.tolist(), there[0], memory.tolist(), there[1], k, constrained)


@pytest.mark.parametrize(("k", "constrained"), [(3, 3), (2, 6), (4, 1), (1, 1), (16, 16)])
@pytest.mark.parametrize(
    ("missing_w", "missing_rows"),
    [((), ()), ((1, 4), ()), ((1, 4), range(6, 16)), (range(5), range(6, 16)), ((), range(6, 12))],
)
def test_loss_is_the_rules(k, constrained, missing_w, missing_rows):
    parts = example(missing_w, missing_rows)
    expected = looped(*parts, k, constrained)
    assert cmsf_loss(*parts, k, constrained).item() == pytest.approx(expected, rel=1e-5)


def test_without_constrained_neighbours_it_is_msf():
    v, u, w, memory, earlier = example()
    assert torch.equal(cmsf_loss(v, u, w, memory, earlier, 3, 0), msf_loss(v, u, memory, 3))


def test_with_nothing_seen_it_is_msf():
    v, u, w, memory, earlier = example(range(6), range(6, 16))
    torch.testing.assert_close(cmsf_loss(v, u, w, memory, earlier, 3, 3), msf_loss(v, u, memory, 3))
    _, _, w, _, earlier = example()
    torch.testing.assert_close(cmsf_loss(v, u, w, memory, 0 * earlier, 3, 3), msf_loss(v, u, memory, 3))
    torch.testing.assert_close(cmsf_loss(v, u, 0 * w, memory, earlier, 3, 3), msf_loss(v, u, memory, 3))


def test_with_the_earlier_embeddings_those_of_now_it_is_msf():
    v, u, _, memory, _ = example()
    torch.testing.assert_close(cmsf_loss(v, u, u, memory, memory, 3, 3), msf_loss(v, u, memory, 3))
    torch.testing.assert_close(cmsf_loss(v, u, u, memory, memory, 3, 9), msf_loss(v, u, memory, 3))


def test_without_a_limit_to_the_constraint_it_is_msf():
    v, u, w, memory, earlier = example()
    torch.testing.assert_close(cmsf_loss(v, u, w, memory, earlier, 3, 16), msf_loss(v, u, memory, 3))


def test_gradient_is_right_and_reaches_the_prediction_only():
    parts = [part.double().requires_grad_() for part in example((1,), (9,))]
    assert torch.autograd.gradcheck(lambda x: cmsf_loss(x, *parts[1:], 2, 4), (parts[0],))
    cmsf_loss(*parts, 2, 4).backward()
    assert parts[0].grad.abs().sum() > 0
    assert all(part.grad is None for part in parts[1:])


def test_the_method_remembers_what_it_says():
    """Against lists: each image's last embedding, and for each row of the queue the one before it.

    The first batch comes twice, while most of the queue is of chance and has no earlier embeddings.
    """
    method, feed = learner(constrained=12)
    last, queue, before = {}, method.queue.rows.tolist(), [None] * 24
    counts = set()
    for step, batch in enumerate((0, 0, 1, 2, 3, 4, 5)):
        views = feed(batch)
        out = method.loss(views)
        (u,) = method._waiting
        w = [last.get(row) for row in views.rows.tolist()]
        counts.add(sum(row is not None for row in w))
        queue, before = oracle.push(queue, u.tolist()), oracle.push(before, w)
        v = method.predictor(method.online(views.first)[1])
        expected = oracle.cmsf(v.tolist(), u.tolist(), w, queue, before, 3, 12)
        assert out.loss.item() == pytest.approx(expected, rel=1e-4)
        method.after_step(step + 1, 10)
        last |= dict(zip(views.rows.tolist(), u.tolist(), strict=True))
    assert {0, 8} <= counts
    assert method.bank.seen.all()
    torch.testing.assert_close(method.bank.rows, torch.tensor([last[row] for row in range(24)]))


def test_the_first_epoch_is_that_of_msf(tmp_path):
    """Three batches of 8 are the 24 images; in the fourth the earlier embeddings come in."""
    method, feed = learner()
    plain = Msf(backbone(), MsfParams(**MSF), 24, torch.Generator().manual_seed(0))
    rows = {}
    for name, one in (("msf", plain), ("cmsf", method)):
        (tmp_path / name).mkdir()
        rows[name] = fit(one, feed, OPTIM, num_steps=5, seed=0, device=CPU, state=tmp_path / name, save_seconds=1e9)
    for a, b in zip(rows["msf"][:3], rows["cmsf"][:3], strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
    assert rows["msf"][3]["loss"] != pytest.approx(rows["cmsf"][3]["loss"], rel=1e-4)


def test_loss_twice_gives_the_same_and_remembers_nothing():
    method, feed = learner()
    for step in range(4):
        method.loss(feed(step))
        method.after_step(step + 1, 10)
    buffers = [*method.queue.buffers(), *method.earlier.buffers(), *method.bank.buffers()]
    copies = [buffer.clone() for buffer in buffers]
    first = method.loss(feed(4)).loss
    assert torch.equal(first, method.loss(feed(4)).loss)
    assert all(torch.equal(a, b) for a, b in zip(buffers, copies, strict=True))
    for step in (5, 6):  # the second time nothing waits
        method.after_step(step, 10)
        assert int(method.queue.count) == int(method.earlier.count) == 40


def test_an_image_that_stands_twice_in_a_batch_keeps_its_last_embedding():
    method, feed = learner()
    views = feed(0)
    twice = Views(views.first, views.second, views.local, torch.tensor([5, 1, 2, 3, 5, 6, 7, 8]))
    method.loss(twice)
    (u,) = method._waiting
    method.after_step(1, 10)
    torch.testing.assert_close(method.bank.rows[5], u[4])
    assert int(method.bank.seen.sum()) == 7


def test_slow_copy_gets_no_gradient():
    method, feed = learner()
    method.loss(feed(0)).loss.backward()
    assert not any(p.requires_grad or p.grad is not None for p in method.slow.parameters())
    assert all(p.grad is not None for p in [*method.online.parameters(), *method.predictor.parameters()])


def test_more_neighbours_than_the_queue_has_rows_are_refused():
    with pytest.raises(
        ParamsError, match=r"^pretrain.cmsf.constrained: expected at most 24, queue_size cut to the images, got 25$"
    ):
        learner(constrained=25)
    with pytest.raises(
        ParamsError, match=r"^pretrain.cmsf.neighbours: expected at most 24, queue_size cut to the images, got 25$"
    ):
        learner(neighbours=25)


@pytest.mark.parametrize("bad", [{"constrained": -1}, {"neighbours": 0}])
def test_values_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        CmsfParams(**{**PARAMS, **bad})


def test_training_lowers_the_loss(tmp_path):
    method, feed = learner()
    rows = fit(method, lambda _: feed(0), OPTIM, num_steps=15, seed=0, device=CPU, state=tmp_path, save_seconds=1e9)
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    assert rows[-1]["feature_std"] > 0.3
