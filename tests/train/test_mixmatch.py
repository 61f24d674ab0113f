"""MixMatch against its equations, and in the cases in which it becomes something known."""

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Beta

from pipeline.train.methods import METHODS
from pipeline.train.methods.mixmatch import mixmatch_loss
from pipeline.train.mixing import mixed
from pipeline.train.passes import forward_parts
from pipeline.train.sharpen import sharpen
from tests.digits import backbone, semi, task
from tests.oracles import mixmatch as oracle
from tests.train.helpers import HOWS, IMAGES, loss, trained

KNOWN = torch.tensor([True, False, True, False, False, True])


def learner(of=None, **changes):
    """MixMatch, whose weight does not rise, and its batches."""
    return semi("mixmatch", of, **{"ramp": 0.0, **changes})


def logits(seed, rows=6):
    return 3 * torch.randn(rows, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [0.3, 0.5, 1.0])
def test_sharpening_is_the_papers(temperature):
    p = logits(0).softmax(dim=1)
    expected = torch.tensor([oracle.sharpen(row, temperature) for row in p.tolist()])
    torch.testing.assert_close(sharpen(p, temperature), expected)


@pytest.mark.parametrize("p", [[0.7, 0.2, 0.1], [1.0, 0.0, 0.0], [0.4, 0.3, 0.3]])
def test_at_a_low_temperature_the_prediction_is_one_class(p):
    assert torch.equal(sharpen(torch.tensor([p]), 1e-3), torch.tensor([[1.0, 0.0, 0.0]]))


def test_a_prediction_that_alignment_left_nothing_of_is_even():
    torch.testing.assert_close(sharpen(torch.zeros(1, 4), 0.5), torch.full((1, 4), 0.25))


def test_images_and_targets_are_mixed_row_by_row():
    x, order = logits(0), torch.tensor([3, 1, 0, 5, 2, 4])
    draws = torch.tensor([0.1, 0.9, 0.5, 0.0, 1.0, 0.3])
    found = mixed(x, x[order], torch.maximum(draws, 1 - draws))
    rows, pairs = x.tolist(), zip(order.tolist(), draws.tolist(), strict=True)
    torch.testing.assert_close(found, torch.tensor([oracle.mix(rows[i], rows[j], d) for i, (j, d) in enumerate(pairs)]))
    images = torch.rand(6, 1, 3, 2)
    flat = images.flatten(1)
    torch.testing.assert_close(mixed(images, images[order], draws).flatten(1), mixed(flat, flat[order], draws))
    assert torch.equal(mixed(x, x[order], torch.ones(6)), x)


@pytest.mark.parametrize("known", [KNOWN, KNOWN & False, KNOWN | True])
def test_loss_is_the_papers(known):
    x, targets = logits(0), logits(1).softmax(dim=1)
    labelled, unlabelled = mixmatch_loss(x, targets, known)
    expected = oracle.loss(x.tolist(), targets.tolist(), known.tolist())
    assert [labelled.item(), unlabelled.item()] == pytest.approx(expected, rel=1e-5)


def test_gradient_is_right_and_stops_at_the_targets():
    x, targets = logits(0).double().requires_grad_(), logits(1).double().softmax(dim=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: mixmatch_loss(x, targets.detach(), KNOWN), (x,))
    sum(mixmatch_loss(x, targets, KNOWN)).backward()
    assert targets.grad is None
    assert x.grad.abs().sum(dim=1).min() > 0


@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize("how", HOWS)
def test_the_loss_of_a_batch_is_the_papers(views, how):
    method, feed = learner(task(batch_norm=how), views=views)
    method.eval()
    batch = feed(0)
    assert len(batch.views) == views
    step = loss(method, batch)
    images = torch.cat([batch.labelled, *batch.views])
    torch.manual_seed(0)
    order, draws = torch.randperm(len(images)).tolist(), Beta(0.75, 0.75).sample((len(images),)).tolist()
    flat = images.flatten(1).tolist()
    rows = torch.tensor([oracle.mix(flat[i], flat[j], draws[i]) for i, j in enumerate(order)]).view_as(images)
    with torch.no_grad():
        of_views = [method.net(view)["label"].tolist() for view in batch.views]
        of_labelled, of_mixed = method.net(batch.labelled)["label"].tolist(), method.net(rows)["label"].tolist()
    whole, known = oracle.targets(batch.label[:, 0].tolist(), of_labelled, of_views, views, 0.5)
    targets = [oracle.mix(whole[i], whole[j], draws[i]) for i, j in enumerate(order)]
    labelled, unlabelled = oracle.loss(of_mixed, targets, known)
    assert step.logs["labelled"].item() == pytest.approx(labelled, rel=1e-4)
    assert step.logs["unlabelled"].item() == pytest.approx(unlabelled, rel=1e-4)
    assert step.loss.item() == pytest.approx(labelled + 3 * unlabelled, rel=1e-4)
    confidence = [max(row) for row in whole[len(batch.labelled) :]]
    assert step.logs["confidence"].item() == pytest.approx(sum(confidence) / len(confidence), rel=1e-4)


def test_each_image_keeps_at_least_half_of_itself_and_has_a_share_of_its_own():
    method, _ = learner()
    order, share = method.draw([40, 160], torch.device("cpu"))
    assert torch.equal(order.sort().values, torch.arange(200))
    assert 0.5 <= share.min() < 0.55
    assert 0.99 < share.max() <= 1
    assert len(share.unique()) > 100


def test_without_weight_and_mixing_training_is_supervised(tmp_path):
    """In split passes, where labelled images do not meet the others even in batch norm; running statistics aside."""
    of = task(batch_norm="split")
    (method, feed), (supervised, batches) = learner(of, weight=0.0, alpha=0.0), semi("supervised", of)
    supervised.net.load_state_dict(method.net.state_dict())
    trained(method, feed, tmp_path / "a", 4)
    trained(supervised, batches, tmp_path / "b", 4)
    for ours, theirs in zip(method.net.parameters(), supervised.net.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_weight_rises_with_the_run():
    method, feed = learner(ramp=0.5)
    method.eval()
    for step, share in [(0, 0.0), (1, 0.2), (2, 0.4), (3, 0.6), (5, 1.0), (10, 1.0)]:
        method.progress = step / 10
        out = loss(method, feed(0))
        torch.testing.assert_close(out.loss, out.logs["labelled"] + 3 * share * out.logs["unlabelled"])


def test_running_statistics_come_from_the_mixed_images_alone():
    method, feed = learner()
    other, _ = learner()
    other.load_state_dict(method.state_dict())
    loss(method, feed(0))
    torch.manual_seed(0)
    images = torch.cat([feed(0).labelled, *feed(0).views])
    order, share = other.draw([len(images)], images.device)
    forward_parts(other.net, [mixed(images, images[order], share)], "joint")
    statistics = [name for name, _ in method.net.named_buffers() if "running" in name]
    assert statistics
    for name in statistics:
        torch.testing.assert_close(method.net.get_buffer(name), other.net.get_buffer(name))


def test_mixes_are_drawn_anew_and_predictions_pass_no_gradient():
    method, feed = learner()
    assert not torch.equal(loss(method, feed(0)).loss, loss(method, feed(0), seed=1).loss)
    assert not method.predictions(feed(0))["label"].requires_grad


def test_predictions_are_drawn_to_the_goal_before_they_are_sharpened():
    method, feed = learner(align="labels")
    method.eval()
    batch = feed(0)
    with torch.no_grad():
        p = torch.stack([method.net(view)["label"].softmax(dim=1) for view in batch.views]).mean(dim=0)
    goal = torch.bincount(method.task.targets.labels[:, 0], minlength=10) / 20
    mean = 2 / 11 * goal + 9 / 11 * p.mean(dim=0)  # the momentum at the first step is 2 / 11
    expected = p * goal / mean
    expected = expected / expected.sum(dim=1, keepdim=True)
    torch.testing.assert_close(method.predictions(batch)["label"], sharpen(expected, 0.5))
    torch.testing.assert_close(method.alignments[0].mean, goal)
    method.after_step(1, 10)
    torch.testing.assert_close(method.alignments[0].mean, mean)


def test_an_image_without_a_label_has_the_squared_error_to_its_prediction():
    """The same as an unlabelled image of one view would have, beside labelled ones."""
    of = task(labels=[[-1], [2], [3], [-1]])
    method = METHODS["mixmatch"](backbone(), of, learner(alpha=0.0, views=1)[0].params).eval()
    batch = method.feed(IMAGES)(0)
    out = loss(method, batch)
    with torch.no_grad():
        known, rest = method.net(batch.labelled)["label"], method.net(batch.views[0])["label"]
    unknown = batch.label[:, 0] < 0
    assert 0 < unknown.sum() < len(unknown)
    rest = torch.cat([known[unknown], rest]).softmax(dim=1)
    torch.testing.assert_close(out.logs["unlabelled"], (rest - sharpen(rest, 0.5)).square().mean())
    torch.testing.assert_close(out.logs["labelled"], F.cross_entropy(known[~unknown], batch.label[~unknown, 0]))
