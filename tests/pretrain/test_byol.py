"""BYOL against its equation, lightly's loss, its fixed points, and its slow copy."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from pipeline.base.torchvision_import import torchvision
from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.nn.primitives import spread
from pipeline.pretrain.feed import Feed
from pipeline.pretrain.methods.byol import Byol, ByolParams, byol_loss
from tests.digits import CONTRASTIVE, OPTIM, backbone, digits
from tests.oracles import byol as oracle

PARAMS = {"dim": 8, "hidden_dim": 16, "keep_start": 0.9, "keep_end": 1.0}


def some(seed, n=5, d=4):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def learner():
    method = Byol(backbone(), ByolParams(**PARAMS), 300, torch.Generator().manual_seed(0))
    return method, Feed(digits()[0][:300], (CONTRASTIVE, CONTRASTIVE), None, 8, seed=0)


def test_loss_is_the_papers():
    p1, p2, z1, z2 = (some(seed) for seed in range(4))
    expected = oracle.byol(*(x.tolist() for x in (p1, p2, z1, z2)))
    assert byol_loss(p1, p2, z1, z2).item() == pytest.approx(expected, rel=1e-5)


def test_loss_is_lightlys():
    """Whose negative cosine c makes it 2 + 2 c for each direction."""
    pytest.importorskip("lightly")
    torchvision()
    from lightly.loss import NegativeCosineSimilarity

    cosine = NegativeCosineSimilarity()
    p1, p2, z1, z2 = (some(seed) for seed in range(4))
    torch.testing.assert_close(byol_loss(p1, p2, z1, z2), 4 + 2 * cosine(p1, z2) + 2 * cosine(p2, z1))


def test_loss_is_zero_where_predictions_point_at_their_targets_and_eight_where_they_point_away():
    z1, z2 = some(0), some(1)
    assert byol_loss(3 * z2, 0.5 * z1, z1, z2).item() == pytest.approx(0, abs=1e-6)
    assert byol_loss(-z2, -z1, z1, z2).item() == pytest.approx(8)
    assert byol_loss(z2, -z1, z1, z2).item() == pytest.approx(4)


def test_gradient_is_right_and_reaches_the_predictions_only():
    p1, p2, z1, z2 = (some(seed).double().requires_grad_() for seed in range(4))
    assert torch.autograd.gradcheck(lambda a, b: byol_loss(a, b, z1, z2), (p1, p2))
    byol_loss(p1, p2, z1, z2).backward()
    assert p1.grad.abs().sum() > 0
    assert p2.grad.abs().sum() > 0
    assert z1.grad is None
    assert z2.grad is None


def test_each_view_is_predicted_from_the_other():
    method, feed = learner()
    views = feed(0)
    out = method.loss(views)
    z1, z2 = (method.online(view)[1] for view in (views.first, views.second))
    t1, t2 = (method.slow(view)[1] for view in (views.first, views.second))
    expected = oracle.byol(*(x.tolist() for x in (method.predictor(z1), method.predictor(z2), t1, t2)))
    assert out.loss.item() == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(out.logs["feature_std"], spread(z1))
    for h, view in zip(out.features, (views.first, views.second), strict=True):
        torch.testing.assert_close(h, method.online.backbone(view))
        assert h.requires_grad


def test_loss_twice_gives_the_same():
    method, feed = learner()
    first = method.loss(feed(0)).loss
    assert torch.equal(first, method.loss(feed(0)).loss)


def test_slow_copy_gets_no_gradient_and_moves_by_the_papers_schedule():
    method, feed = learner()
    method.loss(feed(0)).loss.backward()
    assert not any(p.requires_grad or p.grad is not None for p in method.slow.parameters())
    assert all(p.grad is not None for p in [*method.online.parameters(), *method.predictor.parameters()])
    weight = next(method.slow.parameters()).clone()
    with torch.no_grad():
        next(method.online.parameters()).add_(1.0)
    for step in (3, 7):
        t = step / 10
        keep = 1 - (1 - 0.9) * (math.cos(math.pi * t) + 1) / 2
        expected = keep * next(method.slow.parameters()) + (1 - keep) * next(method.online.parameters())
        method.after_step(step, 10)
        torch.testing.assert_close(next(method.slow.parameters()), expected)
    moved = next(method.slow.parameters()).clone()
    assert not torch.equal(moved, weight)
    method.after_step(10, 10)  # keep_end is 1.0: at the last step nothing moves
    assert torch.equal(next(method.slow.parameters()), moved)


def test_slow_copy_uses_statistics_of_its_own_batch_and_keeps_its_own_buffers():
    method, feed = learner()
    view = feed(0).first
    assert method.slow.training
    before = method.slow.head[1].running_mean.clone()
    method.loss(feed(0))
    assert not torch.equal(before, method.slow.head[1].running_mean)
    own = {name: buffer.clone() for name, buffer in method.slow.named_buffers()}
    for buffer in method.online.buffers():
        buffer.zero_()
    method.after_step(1, 10)
    assert all(torch.equal(buffer, own[name]) for name, buffer in method.slow.named_buffers())
    assert not torch.equal(method.slow(view)[1][:4], method.slow(view[:4])[1])


def test_heads_have_a_norm_and_a_relu_in_the_middle_and_none_at_the_end():
    method, _ = learner()
    for head, into in ((method.online.head, method.online.backbone.dim), (method.predictor, 8)):
        assert [type(layer).__name__ for layer in head] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
        assert (head[0].in_features, head[0].out_features, head[3].out_features) == (into, 16, 8)


def test_training_lowers_the_loss(tmp_path):
    method, feed = learner()
    cpu = Device(torch.device("cpu"), bf16=False)
    rows = fit(method, lambda _: feed(0), OPTIM, num_steps=15, seed=0, device=cpu, state=tmp_path, save_seconds=1e9)
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    assert rows[-1]["feature_std"] > 0.3


@pytest.mark.parametrize("bad", [{"dim": 0}, {"hidden_dim": 0}, {"keep_start": 1.0}, {"keep_end": 1.1}])
def test_values_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        ByolParams(**{**PARAMS, **bad})


def test_of_unit_vectors_it_is_two_minus_two_cosines_a_direction_in_whichever_order_the_views_come():
    p1, p2, z1, z2 = (F.normalize(some(seed), dim=1) for seed in range(4))
    expected = 4 - 2 * (p1 * z2).sum(1).mean() - 2 * (p2 * z1).sum(1).mean()
    torch.testing.assert_close(byol_loss(p1, p2, z1, z2), expected)
    torch.testing.assert_close(byol_loss(p2, p1, z2, z1), expected)
