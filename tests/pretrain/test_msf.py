"""MSF against its equation, its reduction to BYOL, and its queue."""

import copy

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from pipeline.base.errors import ParamsError
from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.nn.memory import Queue, enqueued, nearest
from pipeline.nn.primitives import spread
from pipeline.pretrain.feed import Feed
from pipeline.pretrain.methods.byol import byol_loss
from pipeline.pretrain.methods.msf import Msf, MsfParams, msf_loss
from tests.digits import CONTRASTIVE, OPTIM, backbone, digits
from tests.oracles import msf as oracle

PARAMS = {"dim": 8, "hidden_dim": 16, "queue_size": 50, "neighbours": 3, "keep_start": 0.9, "keep_end": 1.0}


def unit(n, d, seed):
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def learner(num_images=300, **changed):
    method = Msf(backbone(), MsfParams(**{**PARAMS, **changed}), num_images, torch.Generator().manual_seed(0))
    return method, Feed(digits()[0][:300], (CONTRASTIVE, CONTRASTIVE), None, 8, seed=0)


@pytest.mark.parametrize("k", [1, 3, 12])
def test_loss_is_the_papers(k):
    v, u = 3 * unit(5, 4, 0), unit(5, 4, 1)
    memory = torch.cat([u, unit(7, 4, 2)])
    expected = oracle.msf(v.tolist(), u.tolist(), memory.tolist(), k)
    assert msf_loss(v, u, memory, k).item() == pytest.approx(expected, rel=1e-5)


def test_with_one_neighbour_it_is_one_direction_of_byol():
    v, u = unit(5, 4, 0), unit(5, 4, 1)
    away = byol_loss(v, u, u, u)  # the second direction is 0
    torch.testing.assert_close(msf_loss(v, u, torch.cat([u, unit(40, 4, 2)]), 1), away)


def test_loss_is_zero_where_all_point_one_way_and_four_where_the_prediction_points_away():
    one = unit(1, 4, 0)
    assert msf_loss(2 * one, one, one.repeat(9, 1), 5).item() == pytest.approx(0, abs=1e-6)
    assert msf_loss(-one, one, one.repeat(9, 1), 5).item() == pytest.approx(4)


def test_gradient_is_right_and_reaches_the_prediction_only():
    v, u, memory = (unit(n, 4, seed).double().requires_grad_() for n, seed in ((3, 0), (3, 1), (6, 2)))
    assert torch.autograd.gradcheck(lambda x: msf_loss(x, u, memory, 2), (v,))
    msf_loss(v, u, memory, 2).backward()
    assert v.grad.abs().sum() > 0
    assert u.grad is None
    assert memory.grad is None


def test_a_shift_goes_to_the_mean_of_the_neighbours():
    """The gradient at v is along the sum of its neighbours, as far as it is across v."""
    v, u = unit(1, 4, 0).requires_grad_(), unit(1, 4, 1)
    memory = torch.cat([u, unit(20, 4, 2)])
    msf_loss(v, u, memory, 5).backward()
    mean = memory[nearest(u, memory, 5)[0]].mean(0)
    across = mean - (mean @ v[0]) * v[0]
    torch.testing.assert_close(v.grad[0], (-2 * across).detach())


def test_neighbours_come_the_nearest_first_in_float32():
    u, memory = unit(5, 4, 0), unit(30, 4, 1)
    memory = torch.cat([memory, u])
    expected = [oracle.nearest(row, memory.tolist(), range(35), 6) for row in u.tolist()]
    assert nearest(u, memory, 6).tolist() == expected
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert nearest(u, memory, 6).tolist() == expected
    assert [row[0] for row in expected] == [30, 31, 32, 33, 34]


@pytest.mark.parametrize(("size", "batch"), [(10, 3), (10, 10), (10, 1), (4, 7), (1, 1), (1, 2)])
def test_the_memory_is_what_the_queue_will_be(size, batch):
    queue = Queue(size, 2, torch.Generator().manual_seed(0))
    expected = queue.rows.tolist()
    for step in range(12):
        rows = unit(batch, 2, step)
        before = copy.deepcopy(queue.state_dict())
        memory = enqueued(queue, rows)
        assert all(torch.equal(tensor, before[name]) for name, tensor in queue.state_dict().items())
        expected = oracle.push(expected[-size:], rows.tolist())
        assert sorted(memory.tolist()) == sorted(expected)
        assert torch.equal(memory[:batch], rows)
        queue.push(rows)
        if batch <= size:
            assert sorted(queue.rows.tolist()) == sorted(expected)


def test_the_image_itself_and_others_of_its_batch_are_found_before_they_are_in_the_queue():
    method, feed = learner()
    views = feed(0)
    out = method.loss(views)
    (u,) = method._waiting
    _, z = method.online(views.first)
    memory = oracle.push(method.queue.rows.tolist(), u.tolist())
    expected = oracle.msf(method.predictor(z).tolist(), u.tolist(), memory, 3)
    assert out.loss.item() == pytest.approx(expected, rel=1e-4)
    alone = msf_loss(method.predictor(z), u, torch.cat([u[:1], method.queue.rows]), 3)
    assert out.loss.item() != pytest.approx(alone.item(), rel=1e-3)
    torch.testing.assert_close(u, F.normalize(method.slow(views.second)[1], dim=1))
    torch.testing.assert_close(out.logs["feature_std"], spread(z))
    torch.testing.assert_close(out.features[0], method.online.backbone(views.first))
    torch.testing.assert_close(out.features[1], method.slow.backbone(views.second))
    assert [h.requires_grad for h in out.features] == [True, False]


def test_parts_of_a_batch_have_together_the_loss_of_the_whole():
    """What each of two processes computes, once embeddings are gathered."""
    v, u = unit(6, 4, 0), unit(6, 4, 1)
    memory = torch.cat([u, unit(9, 4, 2)])
    parts = [msf_loss(v[part], u[part], memory, 4) for part in (slice(0, 3), slice(3, 6))]
    torch.testing.assert_close(sum(parts) / 2, msf_loss(v, u, memory, 4))


def test_loss_twice_gives_the_same_and_moves_no_queue():
    method, feed = learner()
    before = method.queue.rows.clone()
    first = method.loss(feed(0)).loss
    assert torch.equal(first, method.loss(feed(0)).loss)
    assert torch.equal(before, method.queue.rows)
    assert int(method.queue.count) == 0


def test_after_a_step_the_queue_holds_the_embeddings_once():
    method, feed = learner()
    method.loss(feed(0))
    method.loss(feed(1))
    (u,) = method._waiting
    method.after_step(1, 10)
    assert int(method.queue.count) == 8
    assert torch.equal(method.queue.rows[:8], u)
    method.after_step(2, 10)
    assert int(method.queue.count) == 8


def test_slow_copy_follows_and_gets_no_gradient():
    method, feed = learner()
    method.loss(feed(0)).loss.backward()
    assert not any(p.requires_grad or p.grad is not None for p in method.slow.parameters())
    assert all(p.grad is not None for p in [*method.online.parameters(), *method.predictor.parameters()])
    weight = next(method.slow.parameters()).clone()
    with torch.no_grad():
        next(method.online.parameters()).add_(1.0)
    method.after_step(10, 10)  # keep_end is 1.0: at the last step nothing moves
    assert torch.equal(next(method.slow.parameters()), weight)
    method.after_step(0, 10)  # keep_start is 0.9
    torch.testing.assert_close(next(method.slow.parameters()), weight + 0.1)


def test_the_queue_is_no_longer_than_there_are_images():
    assert len(learner(num_images=7)[0].queue) == 7


def test_more_neighbours_than_the_queue_has_rows_are_refused():
    with pytest.raises(
        ParamsError, match=r"^pretrain.msf.neighbours: expected at most 7, queue_size cut to the images, got 8$"
    ):
        learner(num_images=7, neighbours=8)
    learner(num_images=7, neighbours=7)


@pytest.mark.parametrize("bad", [{"neighbours": 0}, {"queue_size": 0}, {"keep_start": 1.0}, {"keep_end": 1.1}])
def test_values_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        MsfParams(**{**PARAMS, **bad})


def test_training_lowers_the_loss(tmp_path):
    method, feed = learner()
    cpu = Device(torch.device("cpu"), bf16=False)
    rows = fit(method, lambda _: feed(0), OPTIM, num_steps=15, seed=0, device=cpu, state=tmp_path, save_seconds=1e9)
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    assert rows[-1]["feature_std"] > 0.3
