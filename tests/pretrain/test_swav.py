"""SwAV: Sinkhorn's codes, the prototypes, the queue, the crops."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pipeline.nn.optim import OptimParams
from pipeline.pretrain.methods.swav import sinkhorn, swav_codes
from pipeline.pretrain.prototypes import swapped_loss
from tests.digits import self_supervised
from tests.method_values import OPTIM
from tests.oracles import swav
from tests.pretrain.family import trained, unit


def scores(n, k):
    return torch.rand(n, k, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("iterations", [1, 2, 3, 8])
@pytest.mark.parametrize("shape", [(6, 4), (3, 7), (1, 3), (5, 1)])
def test_codes_are_the_papers(iterations, shape):
    s = scores(*shape)
    expected = torch.tensor(swav.codes(s.tolist(), 0.05, iterations))
    torch.testing.assert_close(sinkhorn(s, 0.05, iterations), expected, rtol=1e-4, atol=1e-6)


def test_rows_sum_to_one_and_columns_become_equal():
    s = scores(12, 5)
    for iterations in (1, 3, 200):
        torch.testing.assert_close(sinkhorn(s, 0.05, iterations).sum(dim=1), torch.ones(12))
    torch.testing.assert_close(sinkhorn(s, 0.05, 200).sum(dim=0), torch.full((5,), 12 / 5), rtol=1e-3, atol=0)
    assert sinkhorn(s, 0.05, 1).sum(dim=0).std() > 0.1  # so the limit above is no matter of course


def test_codes_in_closed_form():
    torch.testing.assert_close(sinkhorn(torch.full((4, 8), 0.3), 0.05, 3), torch.full((4, 8), 1 / 8))
    each_its_own = -1 + 2 * torch.eye(5)[[3, 1, 4, 0, 2]]
    torch.testing.assert_close(sinkhorn(each_its_own, 0.05, 3), torch.eye(5)[[3, 1, 4, 0, 2]])
    # Popularity is what the balance takes away, in the first round and however large.
    s = scores(9, 4).double()
    torch.testing.assert_close(sinkhorn(s + torch.tensor([0.0, 1e3, -1e3, 7.0]), 0.05, 3), sinkhorn(s, 0.05, 3))


@pytest.mark.parametrize("factor", [1e4, 1e30])
@pytest.mark.parametrize("iterations", [1, 3, 50])
def test_large_scores_give_numbers(factor, iterations):
    s = scores(16, 30)
    for codes in (sinkhorn(s * factor, 0.05, iterations), sinkhorn(s, 0.05 / factor, iterations)):
        assert codes.isfinite().all()
        torch.testing.assert_close(codes.sum(dim=1), torch.ones(16))


def test_a_sample_far_from_all_prototypes_is_no_division_by_zero():
    s = torch.tensor([[100.0, 99.9], [-100.0, -100.1], [0.0, 0.1]])
    torch.testing.assert_close(sinkhorn(s, 0.05, 3), sinkhorn(s.double(), 0.05, 3).float(), rtol=1e-3, atol=1e-4)
    assert (s / 0.05 - 2000).exp()[1].sum() == 0  # what taking the largest away before exp would leave of that row


def test_codes_are_computed_in_float32_pass_no_gradient_and_leave_the_scores():
    s = scores(8, 6).bfloat16().requires_grad_()
    before = s.detach().clone()
    with torch.autocast("cpu", torch.bfloat16):
        codes, of_vectors = sinkhorn(s, 0.05, 3), swav_codes(s, unit(5, 6, seed=0), 0.05, 3)
    assert codes.dtype == torch.float32
    assert torch.equal(codes, sinkhorn(s.float(), 0.05, 3))
    assert torch.equal(of_vectors, swav_codes(s.float(), unit(5, 6, seed=0), 0.05, 3))
    assert not codes.requires_grad
    assert torch.equal(s, before)


def learner(**changes):
    return self_supervised("swav", **{"queue_size": 20, "queue_start": 0.25, "frozen": 0.25, **changes})


@pytest.mark.parametrize(("count", "shapes"), [(0, [(16, 8)]), (3, [(16, 8), (24, 4)])])
def test_views_of_one_size_pass_together(count, shapes):
    method, feed = learner()
    views = feed(0)
    seen = []
    method.backbone.register_forward_pre_hook(lambda _, args: seen.append((len(args[0]), args[0].shape[-1])))
    method.loss(replace(views, local=views.first[None, :, :, ::2, ::2].expand(count, -1, -1, -1, -1)))
    assert seen == shapes


@pytest.mark.parametrize("name", ["sgd", "lars"])
def test_frozen_prototypes_stay_to_the_bit_then_move_at_length_one(name, tmp_path):
    """Decay and momentum would move what has a gradient of zero: a quarter of eight steps is two."""
    changes = {"name": name, "nesterov": False, "weight_decay": 0.1, "warmup": 0.0, "learning_rate": 0.5}
    method, feed = learner()
    start, before = method.prototypes.detach().clone(), []

    def batch_at(step):
        before.append(torch.equal(method.prototypes, start))
        return feed(step)

    trained(method, batch_at, tmp_path, 8, OptimParams(**{**OPTIM.model_dump(), **changes}))
    assert before == [True] * 3 + [False] * 5
    torch.testing.assert_close(method.prototypes.norm(dim=1), torch.ones(12))


def test_decay_does_not_move_the_prototypes_by_itself():
    method, feed = learner(frozen=0.0)
    start = method.prototypes.detach().clone()
    method.loss(feed(0)).loss.backward()
    with torch.no_grad():
        method.prototypes.mul_(0.9)
    method.after_step(1, 10)
    torch.testing.assert_close(method.prototypes.detach(), start)


@pytest.mark.parametrize(("progress", "count", "used"), [(0.2, 20, False), (0.25, 19, False), (0.25, 20, True)])
def test_codes_are_balanced_over_batch_and_queue_once_it_is_due_and_full(progress, count, used):
    method, feed = learner(frozen=0.0)
    method.queue.rows.copy_(unit(20, 16, seed=5))
    method.queue.count.fill_(count)
    method.progress = progress
    views = replace(feed(0), local=torch.empty(0, 8, 1, 4, 4))
    z = F.normalize(method.head(method.backbone(torch.cat([views.first, views.second]))), dim=1).unflatten(0, (2, 8))
    past = method.queue.rows.unflatten(1, (2, 8)).transpose(0, 1) if used else z[:, :0]
    q = torch.stack([swav_codes(torch.cat([z[i], past[i]]), method.prototypes, 0.05, 3)[:8] for i in (0, 1)])
    torch.testing.assert_close(method.loss(views).loss, swapped_loss(z, q, method.prototypes, 0.1))


def test_the_queue_takes_the_large_views_after_the_step():
    method, feed = learner()
    views = replace(feed(0), local=torch.empty(0, 8, 1, 4, 4))
    z = F.normalize(method.head(method.backbone(torch.cat([views.first, views.second]))), dim=1)
    method.loss(views)
    method.after_step(1, 10)
    torch.testing.assert_close(method.queue.rows[:8], torch.cat([z[:8], z[8:]], dim=1))
    assert int(method.queue.count) == 8


def test_the_queue_may_be_missing():
    method, feed = learner(queue_size=0, queue_start=0.0)
    assert method.queue is None
    method.loss(feed(0))
    method.after_step(1, 10)
    assert method.loss(feed(1)).loss.isfinite()
