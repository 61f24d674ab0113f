"""FixMatch against its equation, and in the cases in which it becomes something known."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.semisup.fixmatch import FixMatch, FixMatchParams, fixmatch_loss
from pipeline.semisup.supervised import Supervised, SupervisedParams
from tests.digits import PARAMS, learner
from tests.oracles import losses


def logits(seed):
    return 3 * torch.randn(40, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.95])
def test_loss_is_the_papers(threshold):
    weak, strong = logits(0), logits(1)
    expected, kept = losses.fixmatch(weak.tolist(), strong.tolist(), threshold)
    loss, share = fixmatch_loss(weak, strong, threshold)
    assert 0 < kept < 1 or threshold == 0
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert share.item() == pytest.approx(kept)


def test_no_gradient_reaches_the_weak_view():
    weak, strong = logits(0).requires_grad_(), logits(1).requires_grad_()
    fixmatch_loss(weak, strong, 0.5)[0].backward()
    assert weak.grad is None
    assert strong.grad.abs().sum() > 0


def test_above_threshold_one_it_is_the_supervised_loss():
    method, feed = learner("fixmatch")
    never = FixMatch(method.net, FixMatchParams(**{**PARAMS["fixmatch"], "threshold": 1.01}))
    supervised = Supervised(method.net, SupervisedParams(keep=0.9))
    batch = feed(0)
    # In eval mode, as in train mode batch norm rightly sees the unlabelled images too.
    never.eval()
    supervised.eval()
    step = never.loss(batch)
    torch.testing.assert_close(step.loss, supervised.loss(batch).loss)
    assert step.logs["kept"] == 0


def test_at_threshold_zero_it_is_plain_pseudo_labelling():
    weak, strong = logits(0), logits(1)
    assert torch.equal(fixmatch_loss(weak, strong, 0)[0], F.cross_entropy(strong, weak.argmax(1)))


def test_the_weight_scales_the_unlabelled_loss():
    method, feed = learner("fixmatch")
    method.eval()
    heavy = FixMatch(method.net, FixMatchParams(**{**PARAMS["fixmatch"], "weight": 3.0})).eval()
    one, three = method.loss(feed(0)), heavy.loss(feed(0))
    torch.testing.assert_close(three.loss, one.loss + 2 * one.logs["unlabelled"])
    assert one.logs["unlabelled"] > 0


def test_the_result_is_the_slow_copy_with_its_batch_norm_statistics():
    method, feed = learner("fixmatch")
    method.train()
    method.loss(feed(0))
    fast, slow = (dict(net.named_buffers())["backbone.body.1.running_mean"] for net in (method.net, method.slow))
    assert not torch.equal(fast, slow)
    method.after_step(1, 10)  # keep is warmed up: 2 / 11 at the first step
    torch.testing.assert_close(slow, fast * (1 - 2 / 11), rtol=1e-5, atol=1e-6)
    assert method.result is method.slow
