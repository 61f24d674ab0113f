"""SwAV against its equations and lightly's loss; its prototypes, its queue, its crops."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError

from pipeline.base.torchvision_import import torchvision
from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.nn.optim import OptimParams
from pipeline.nn.primitives import soft_ce
from pipeline.parallel import dist
from pipeline.pretrain.feed import Feed
from pipeline.pretrain.methods.swav import Swav, SwavParams, swav_codes, swav_loss
from pipeline.views.kinds import LocalCrops
from tests.digits import CONTRASTIVE, OPTIM, backbone, digits
from tests.oracles import swav

CPU = Device(torch.device("cpu"), bf16=False)
LOCAL = LocalCrops(count=2, side=0.5, crop_min=0.1, crop_max=0.4)
SMALL = {
    "dim": 8, "hidden_dim": 16, "prototypes": 12, "temperature": 0.1, "epsilon": 0.05, "iterations": 3,
    "queue_size": 20, "queue_start": 0.25, "frozen": 0.25, "local": LOCAL,
}  # fmt: skip


def learner(seed=0, **changes):
    params = SwavParams(**{**SMALL, **changes})
    method = Swav(backbone(seed), params, 300, torch.Generator().manual_seed(seed))
    return method, Feed(digits()[0][:300], (CONTRASTIVE, CONTRASTIVE), params.local, 8, seed=0)


def unit(*shape, seed):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def problem(num_views, dtype=torch.float32):
    z, prototypes = unit(num_views, 6, 4, seed=0).to(dtype), unit(5, 4, seed=1).to(dtype)
    return z, torch.stack([swav_codes(view, prototypes, 0.05, 3) for view in z[:2]]), prototypes


@pytest.mark.parametrize("num_views", [2, 3, 8])
def test_loss_is_the_papers(num_views):
    z, q, prototypes = problem(num_views)
    scores = [[[swav.dot(row, p) for p in prototypes.tolist()] for row in view] for view in z[:2].tolist()]
    codes = [swav.codes(view, 0.05, 3) for view in scores]
    expected = swav.loss(z.tolist(), codes, prototypes.tolist(), 0.1)
    assert swav_loss(z, q, prototypes, 0.1).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("num_views", [2, 5])
@pytest.mark.parametrize("queued", [False, True])
def test_loss_is_that_of_lightly(num_views, queued):
    torchvision()
    peer = pytest.importorskip("lightly.loss").SwaVLoss(temperature=0.1, sinkhorn_epsilon=0.05)
    z, q, prototypes = problem(num_views)
    scores, queue = list(z @ prototypes.T), None
    if queued:
        rows = unit(2, 9, 4, seed=2)
        q = torch.stack([swav_codes(torch.cat([z[i], rows[i]]), prototypes, 0.05, 3)[:6] for i in (0, 1)])
        queue = list(rows @ prototypes.T)
    expected = peer(scores[:2], scores[2:], queue)
    torch.testing.assert_close(swav_loss(z, q, prototypes, 0.1)[None], expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("num_views", [2, 4])
def test_with_all_vectors_equal_the_loss_is_log_of_the_prototypes(num_views):
    one = unit(1, 4, seed=0)
    z, prototypes = one.expand(num_views, 6, 4), one.repeat(9, 1)
    q = torch.stack([swav_codes(z[i], prototypes, 0.05, 3) for i in (0, 1)])
    assert swav_loss(z, q, prototypes, 0.1).item() == pytest.approx(math.log(9), rel=1e-5)


def test_with_hard_codes_it_is_the_cross_entropy_of_the_other_views_prototype():
    """As many prototypes as images and epsilon near 0: each image has one to itself."""
    prototypes = unit(6, 4, seed=0)
    order = torch.tensor([2, 0, 1, 5, 3, 4])
    z = torch.stack([prototypes[order], unit(6, 4, seed=1)])
    q = swav_codes(z[0], prototypes, 1e-3, 3)
    torch.testing.assert_close(q, F.one_hot(order, 6).float())
    loss = swav_loss(z, torch.stack([q, q]), prototypes, 0.1)
    expected = (soft_ce(z[1], prototypes, order, 0.1) + soft_ce(z[0], prototypes, order, 0.1)) / 2
    torch.testing.assert_close(loss, expected)


def test_loss_of_bf16_is_computed_in_float32():
    z, q, prototypes = problem(4)
    with torch.autocast("cpu", torch.bfloat16):
        loss = swav_loss(z.bfloat16(), q, prototypes, 0.1)
        codes = swav_codes(z[0], prototypes, 0.05, 3)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, swav_loss(z.bfloat16().float(), q, prototypes, 0.1))
    assert torch.equal(codes, q[0])


def test_gradient_is_right_and_stops_at_the_codes():
    z, q, prototypes = problem(3, torch.double)
    z, prototypes = z.requires_grad_(), prototypes.requires_grad_()
    assert torch.autograd.gradcheck(lambda z, c: swav_loss(z, q, c, 0.1), (z, prototypes))
    assert not swav_codes(z[0], prototypes, 0.05, 3).requires_grad
    q = q.requires_grad_()
    swav_loss(z, q, prototypes, 0.1).backward()
    assert q.grad is None


def test_loss_twice_gives_the_same_and_leaves_queue_and_progress():
    method, feed = learner()
    before = method.queue.rows.clone()
    first = method.loss(feed(0)).loss
    assert torch.equal(first, method.loss(feed(0)).loss)
    assert torch.equal(before, method.queue.rows)
    assert method.progress.item() == 0


def test_gradient_reaches_backbone_head_and_prototypes_that_are_not_frozen():
    method, feed = learner(frozen=0.0)
    step = method.loss(feed(0))
    step.loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in method.parameters() if p.ndim > 1)
    assert [h.shape for h in step.features] == [(8, method.backbone.dim)] * 2
    assert all(h.requires_grad for h in step.features)


def test_features_are_those_of_the_first_and_the_second_view():
    method, feed = learner()
    views = feed(0)
    h = method.backbone(torch.cat([views.first, views.second]))
    for found, expected in zip(method.loss(views).features, (h[:8], h[8:]), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("count", "shapes"), [(0, [(16, 8)]), (3, [(16, 8), (24, 4)])])
def test_views_of_one_size_pass_together(count, shapes):
    method, feed = learner()
    views = feed(0)
    seen = []
    method.backbone.register_forward_pre_hook(lambda _, args: seen.append((len(args[0]), args[0].shape[-1])))
    method.loss(replace(views, local=views.first[None, :, :, ::2, ::2].expand(count, -1, -1, -1, -1)))
    assert seen == shapes


def test_small_views_add_their_pairs():
    """The loss of the method is `swav_loss` of the large and the small views, in that order, with their own codes."""
    method, feed = learner()
    views = feed(0)
    loss = method.loss(views).loss
    h = [method.backbone(part) for part in (torch.cat([views.first, views.second]), views.local.flatten(0, 1))]
    z = F.normalize(method.head(torch.cat(h)), dim=1).reshape(4, 8, 8)
    q = torch.stack([swav_codes(z[i], method.prototypes, 0.05, 3) for i in (0, 1)])
    torch.testing.assert_close(loss, swav_loss(z, q, method.prototypes, 0.1))


def trained(steps, tmp_path, stop_at=None, optim=OPTIM, save_seconds=1e9, **changes):
    """The method after its training, the curve, and the prototypes before each step."""
    method, feed = learner(**changes)
    prototypes = []

    def batch_at(step):
        prototypes.append(method.prototypes.detach().clone())
        if step == stop_at:
            raise KeyboardInterrupt
        return feed(step)

    try:
        rows = fit(
            method, batch_at, optim, num_steps=steps, seed=0, device=CPU, state=tmp_path, save_seconds=save_seconds
        )
    except KeyboardInterrupt:
        rows = []
    return method, rows, prototypes


@pytest.mark.parametrize("name", ["sgd", "lars"])
def test_frozen_prototypes_stay_to_the_bit_then_move_at_length_one(name, tmp_path):
    """Decay and momentum would move what has a gradient of zero: a quarter of eight steps is two."""
    changes = {"name": name, "nesterov": False, "weight_decay": 0.1, "warmup": 0.0, "learning_rate": 0.5}
    optim = OptimParams(**{**OPTIM.model_dump(), **changes})
    method, _, before = trained(8, tmp_path, optim=optim)
    start = learner()[0].prototypes
    assert [torch.equal(rows, start) for rows in before] == [True] * 3 + [False] * 5
    torch.testing.assert_close(method.prototypes.norm(dim=1), torch.ones(12))


def test_decay_does_not_move_the_prototypes_by_itself():
    method, feed = learner(frozen=0.0)
    start = method.prototypes.detach().clone()
    method.loss(feed(0)).loss.backward()
    with torch.no_grad():
        method.prototypes.mul_(0.9)
    method.after_step(1, 10)
    torch.testing.assert_close(method.prototypes.detach(), start)


def ready(method, progress, count=20):
    """As if `count` rows had gone through the queue."""
    method.queue.rows.copy_(unit(20, 16, seed=5))
    method.queue.count.fill_(count)
    method.progress.fill_(progress)


@pytest.mark.parametrize(("progress", "count", "used"), [(0.2, 20, False), (0.25, 19, False), (0.25, 20, True)])
def test_the_queue_counts_once_it_is_due_and_full(progress, count, used):
    method, feed = learner(frozen=0.0)
    without = method.loss(feed(0)).loss
    ready(method, progress, count)
    assert (method.loss(feed(0)).loss != without).item() is used


def test_the_codes_are_balanced_over_batch_and_queue():
    method, feed = learner()
    ready(method, 0.5)
    method.loss(feed(0))
    for i in (0, 1):
        rows = torch.cat([method._large[i], method.queue.rows[:, 8 * i : 8 * i + 8]])
        expected = swav_codes(rows, method.prototypes, 0.05, 3)[:8]
        torch.testing.assert_close(method._codes(0.5)[i], expected)


def test_the_queue_takes_the_large_views_after_the_step():
    method, feed = learner()
    method.loss(feed(0))
    first, second = method._large
    method.after_step(1, 10)
    torch.testing.assert_close(method.queue.rows[:8], torch.cat([first, second], dim=1))
    assert (int(method.queue.count), method.progress.item()) == (8, 0.1)


def test_the_queue_is_no_longer_than_there_are_images_and_may_be_missing():
    assert len(Swav(backbone(), SwavParams(**SMALL), 7, torch.Generator()).queue) == 7
    method, feed = learner(queue_size=0, queue_start=0.0)
    assert method.queue is None
    method.loss(feed(0))
    method.after_step(1, 10)
    assert method.loss(feed(1)).loss.isfinite()


@pytest.mark.parametrize("queued", [False, True])
def test_each_rank_gets_its_rows_of_the_codes_of_all(queued, monkeypatch):
    """Two ranks with half a batch each, and the same queue, which counts once."""
    method, _ = learner()
    ready(method, 0.5, 20 if queued else 0)
    z = list(unit(2, 10, 8, seed=3))
    method._large = z
    expected = method._codes(0.5)
    monkeypatch.setattr(dist, "world", lambda: 2)
    monkeypatch.setattr(dist, "gather", lambda _: torch.cat(z, dim=1))
    for rank in (0, 1):
        monkeypatch.setattr(dist, "rank", lambda rank=rank: rank)
        part = slice(5 * rank, 5 * rank + 5)
        method._large = [view[part] for view in z]
        torch.testing.assert_close(method._codes(0.5), expected[:, part])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    method, rows, _ = trained(8, tmp_path_factory.mktemp("whole"))
    assert method.queue.full
    return method.state_dict(), rows


@pytest.mark.parametrize("stop_at", [1, 2, 7])
def test_resumed_ends_in_the_same_bytes(stop_at, whole, tmp_path):
    """Stops while the prototypes are frozen, where they begin to move, and where the queue is in use."""
    trained(8, tmp_path, stop_at, save_seconds=0)
    method, rows, before = trained(8, tmp_path)
    assert len(before) == 8 - stop_at
    assert rows == whole[1]
    assert method.state_dict().keys() == whole[0].keys()
    for key, tensor in method.state_dict().items():
        assert torch.equal(tensor, whole[0][key]), key


def test_training_lowers_the_loss(tmp_path):
    method, feed = learner(queue_size=0, frozen=0.0, temperature=0.5, local=LOCAL.model_copy(update={"count": 0}))
    rows = fit(method, lambda _: feed(0), OPTIM, num_steps=20, seed=0, device=CPU, state=tmp_path, save_seconds=1e9)
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    assert rows[-1]["feature_std"] > 0.3


@pytest.mark.parametrize(
    ("name", "value"),
    [("prototypes", 1), ("epsilon", 0.0), ("iterations", 0), ("queue_size", -1), ("frozen", 1.1), ("temperature", 0.0)],
)
def test_values_out_of_range_are_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        SwavParams(**{**SMALL, name: value})
