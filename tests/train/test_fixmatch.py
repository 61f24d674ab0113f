"""FixMatch against its equation, and in the cases in which it becomes something known."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.train.methods.fixmatch import FixMatch, FixMatchParams, Guesses
from pipeline.train.methods.supervised import Supervised, SupervisedParams
from pipeline.train.pixels import Resident
from tests.digits import SEMISUP_PARAMS, backbone, digits, learner, task
from tests.oracles import losses


def logits(seed):
    return 3 * torch.randn(40, 10, generator=torch.Generator().manual_seed(seed))


def guesses(**changes):
    """The unlabelled loss at five classes."""
    made = Guesses(FixMatchParams(**{**SEMISUP_PARAMS["fixmatch"], **changes}), task().finest(), 0)
    return lambda weak, strong: made(weak, strong, torch.arange(len(weak)))


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.95])
def test_loss_is_the_papers(threshold):
    weak, strong = logits(0), logits(1)
    expected, kept = losses.fixmatch(weak.tolist(), strong.tolist(), threshold)
    loss, share = guesses(threshold=threshold)(weak, strong)
    assert 0 < kept < 1 or threshold == 0
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert share.item() == pytest.approx(kept)


def test_no_gradient_reaches_the_weak_view():
    weak, strong = logits(0).requires_grad_(), logits(1).requires_grad_()
    guesses(threshold=0.5)(weak, strong)[0].backward()
    assert weak.grad is None
    assert strong.grad.abs().sum() > 0


def made(changes=None, cls=FixMatch, **common):
    """The method in eval mode, as in train mode batch norm rightly sees the unlabelled images too."""
    method = cls(
        backbone(), task(**common).finest(), FixMatchParams(**{**SEMISUP_PARAMS["fixmatch"], **(changes or {})})
    )
    return method.eval(), method.feed(Resident(digits()[0][:300]))


def test_above_threshold_one_it_is_the_supervised_loss():
    never, feed = made({"threshold": 1.01})
    supervised = Supervised(backbone(), task().finest(), SupervisedParams(keep=0.9)).eval()
    supervised.net.load_state_dict(never.net.state_dict())
    step = never.loss(feed(0))
    torch.testing.assert_close(step.loss, supervised.loss(feed(0)).loss)
    assert step.logs["kept"] == 0


def test_at_threshold_zero_it_is_plain_pseudo_labelling():
    weak, strong = logits(0), logits(1)
    assert torch.equal(guesses(threshold=0)(weak, strong)[0], F.cross_entropy(strong, weak.argmax(1)))


def test_the_weight_scales_the_unlabelled_loss():
    (method, feed), (heavy, _) = made(), made({"weight": 3.0})
    heavy.load_state_dict(method.state_dict())
    one, three = method.loss(feed(0)), heavy.loss(feed(0))
    torch.testing.assert_close(three.loss, one.loss + 2 * one.logs["unlabelled"])
    assert one.logs["unlabelled"] > 0


@pytest.mark.parametrize("how", ["joint", "interleaved", "split"])
@pytest.mark.parametrize("align", ["none", "uniform", "labels"])
def test_one_label_some_classes_without_any_and_fewer_labels_than_a_batch(how, align):
    labels = [[3], [3], [3], [7]]
    method, feed = made({"align": align, "threshold": 0.0}, labels=labels, batch_norm=how, sampling="classes")
    method.train()
    for step in range(3):
        out = method.loss(feed(step))
        again = method.loss(feed(step))
        assert out.loss.isfinite()
        assert torch.equal(out.loss, again.loss)
        method.after_step(step + 1, 3)


def test_the_result_is_the_slow_copy_with_its_batch_norm_statistics():
    method, feed = learner("fixmatch")
    method.train()
    method.loss(feed(0))
    fast, slow = (dict(net.named_buffers())["backbone.body.1.running_mean"] for net in (method.net, method.slow))
    assert not torch.equal(fast, slow)
    method.after_step(1, 10)  # keep is warmed up: 2 / 11 at the first step
    torch.testing.assert_close(slow, fast * (1 - 2 / 11), rtol=1e-5, atol=1e-6)
    assert method.result(Resident(digits()[0])) is method.slow
