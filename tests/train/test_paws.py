"""PAWS against its equations; its supports, its walls, what it leaves behind, and the cases of few labels."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pipeline.base.errors import ParamsError
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import LINEAR, soft_nearest
from pipeline.train.by_supports import me_max_loss, paws_loss, smooth
from pipeline.train.pixels import Resident
from pipeline.train.sharpen import sharpen
from pipeline.views.kinds import ContrastiveView, LocalCrops
from tests.digits import semi, task
from tests.oracles import paws
from tests.train.helpers import HOWS, IMAGES, PIXELS, trained

LOCAL = LocalCrops(count=2, side=0.5, crop_min=0.1, crop_max=0.4)
NEUTRAL = ContrastiveView(
    crop_min=1.0, crop_max=1.0, flip=0.0, jitter_prob=0.0, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0,
    grey_prob=0.0, blur_prob=0.0, solarize_prob=0.0, equalize_prob=0.0, flip_down=0.0, turn_prob=0.0, stain=0.0,
)  # fmt: skip
UNEVEN = [3, 1, 1, 5, 1, 3, 3]  # three of class 1, three of class 3, one of class 5


def learner(labels=None, common=(), **changes):
    given = None if labels is None else [[label] for label in labels]
    of = task(labels=given, method="paws", **dict(common))
    return semi("paws", of, **{"num_unlabelled": 6, "predictor_dim": 0, **changes})


def rows(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def predictions(views, images, classes, seed):
    return rows(views, images, classes, seed=seed).mul(2).softmax(dim=-1)


@pytest.mark.parametrize("num_views", [2, 4])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_losses_are_the_papers(num_views, smoothing):
    z, supports, place = rows(num_views, 5, 4, seed=0), rows(6, 4, seed=1), torch.tensor([0, 0, 2, 1, 2, 1])
    expected = paws.losses(
        z.tolist(), z[:2].tolist(), supports.tolist(), supports.tolist(), place.tolist(), 3, smoothing, 0.1, 0.25
    )
    p = soft_nearest(z.flatten(0, 1), supports, smooth(place, 3, smoothing), 0.1).unflatten(0, (num_views, 5))
    assert paws_loss(p, sharpen(p[:2], 0.25)).item() == pytest.approx(expected[0], rel=1e-5)
    assert me_max_loss(p, 0.25).item() == pytest.approx(expected[1], rel=1e-5)


@pytest.mark.parametrize("predictor_dim", [0, 4])
def test_the_methods_loss_is_the_papers_and_the_linear_layers(predictor_dim):
    method, feed = learner(UNEVEN, predictor_dim=predictor_dim, me_max=0.7)
    batch = feed(0)
    method.eval()  # each image by itself, so that passes do not matter
    views = [batch.labelled, *batch.views, *batch.local]
    with torch.no_grad():
        h = [method.net.backbone(view) for view in views]
        z = [method.net.head.projector(part) for part in h]
        a = [method.predictor(part) for part in z]
        assert not predictor_dim or isinstance(method.predictor[0], torch.nn.BatchNorm1d)  # as the authors' begins
        linear = F.cross_entropy(method.net.head.layer(h[0]), batch.label)
    place = {1: 0, 3: 1, 5: 2}
    expected = paws.losses(
        [view.tolist() for view in a[1:]], [view.tolist() for view in z[1:3]], a[0].tolist(), z[0].tolist(),
        [place[label] for label in batch.label.tolist()], 3, 0.1, 0.1, 0.25,
    )  # fmt: skip
    step = method.loss(batch)
    assert step.logs["unlabelled"].item() == pytest.approx(expected[0], rel=1e-4)
    assert step.logs["me_max"].item() == pytest.approx(expected[1], rel=1e-4)
    assert step.logs["labelled"].item() == pytest.approx(linear.item(), rel=1e-5)
    assert step.loss.item() == pytest.approx(expected[0] + 0.7 * expected[1] + linear.item(), rel=1e-4)


def test_gradients_are_those_of_the_losses_and_stop_at_the_targets():
    z, supports = rows(4, 3, 5, seed=0).requires_grad_(), rows(6, 5, seed=1).requires_grad_()
    q = predictions(2, 3, 3, seed=2)
    answers = smooth(torch.tensor([0, 1, 2, 0, 1, 2]), 3, 0.1)

    def total(z, supports):
        p = soft_nearest(z.flatten(0, 1), supports, answers, 0.5).unflatten(0, (4, 3))
        return paws_loss(p, q) + me_max_loss(p, 0.25)

    assert torch.autograd.gradcheck(total, (z, supports))
    q.requires_grad_()
    total(z, supports).backward()
    assert q.grad is None


def test_targets_of_the_method_pass_no_gradient():
    """Anchors that are all zero pass none either."""
    method, feed = learner(predictor_dim=4)
    torch.nn.init.zeros_(method.predictor[-1].weight)
    torch.nn.init.zeros_(method.predictor[-1].bias)
    method.loss(feed(0)).loss.backward()
    assert not any(p.grad.any() for p in method.net.backbone.parameters())
    assert not any(p.grad.any() for p in method.net.head.projector.parameters())


def test_gradients_of_anchors_flow_through_supports_and_all_views():
    method, feed = learner()
    method.eval()  # in train mode gradients pass from one image to another by batch norm too
    batch = feed(0)
    images = [batch.labelled, *batch.views, batch.local]
    for part in images:
        part.requires_grad_()
    method.loss(batch).logs["unlabelled"].backward()
    for part in images:
        assert (part.grad.flatten(-3).abs().amax(dim=-1) > 0).all()


def test_the_linear_layer_and_the_rest_send_each_other_no_gradient():
    method, feed = learner()
    step = method.loss(feed(0))
    layer, others = [*method.net.head.layer.parameters()], [*method.net.backbone.parameters()]
    others += method.net.head.projector.parameters()
    assert all(grad is None for grad in torch.autograd.grad(step.logs["labelled"], others, allow_unused=True))
    rest = step.logs["unlabelled"] + step.logs["me_max"]
    assert all(grad is None for grad in torch.autograd.grad(rest, layer, allow_unused=True, retain_graph=True))
    assert all(grad.abs().sum() > 0 for grad in torch.autograd.grad(step.loss, [*layer, *others]))


def test_one_support_a_class_and_no_temperature_is_the_nearest_prototype():
    z, prototypes = rows(50, 4, seed=0), rows(6, 4, seed=1)
    p = soft_nearest(z, prototypes, smooth(torch.arange(6), 6, 0.0), 1e-4)
    cosines = F.normalize(z, dim=1) @ F.normalize(prototypes, dim=1).T
    assert torch.equal(p.argmax(dim=1), cosines.argmax(dim=1))
    assert (p.amax(dim=1) > 0.99).double().mean() > 0.9
    smoothed = soft_nearest(z, prototypes, smooth(torch.arange(6), 6, 0.1), 1e-4)
    torch.testing.assert_close(smoothed, 0.9 * p + 0.1 / 6)


@pytest.mark.parametrize("classes", [1, 2, 7])
def test_me_max_is_least_where_the_mean_is_even_and_zero_where_it_is_one_class(classes):
    even = torch.eye(classes).repeat(2, 3, 1)
    assert me_max_loss(even, 0.25).item() == pytest.approx(-math.log(classes), abs=1e-6)
    assert me_max_loss(torch.full((3, 4, classes), 1 / classes), 0.25).item() == pytest.approx(-math.log(classes))
    assert me_max_loss(even[:, :1], 0.25).item() == pytest.approx(0, abs=1e-6)


def test_entries_of_targets_below_the_minimum_do_not_count():
    p = torch.full((2, 1, 2), 0.5).double()
    for small, kept in ((0.99e-4, 1 - 0.99e-4), (1.01e-4, 1.0)):
        q = torch.tensor([1 - small, small], dtype=torch.float64).expand(2, 1, 2)
        assert paws_loss(p, q).item() == pytest.approx(kept * math.log(2), rel=1e-9)


def test_a_step_is_given_what_was_asked_for():
    """Image i has the colour i all over, which no crop changes."""
    method, _ = learner(UNEVEN, {"view": NEUTRAL}, per_class=4)
    batch = method.feed(Resident(torch.arange(250, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)))(3)
    assert batch.classes.tolist() == [1, 3, 5]
    assert batch.label.tolist() == [*[1] * 4, *[3] * 4, *[5] * 4] * 2

    def rows_of(images):
        return (images.mean(dim=(-3, -2, -1)) * 255).round().long().tolist()

    assert [UNEVEN[row] for row in rows_of(batch.labelled)] == batch.label.tolist()
    assert rows_of(batch.labelled[:12]) == rows_of(batch.labelled[12:])
    shown = rows_of(batch.views[0])
    assert len(set(shown)) == 6
    assert rows_of(batch.views[1]) == shown
    assert rows_of(batch.local) == [shown] * 2
    assert batch.local.shape == (2, 6, 1, 4, 4)
    assert batch.num_images == 24 + 12 + 12
    assert learner(local=LOCAL.model_copy(update={"count": 0}))[1](0).num_images == 2 * 20 + 12


def test_a_batch_is_a_function_of_seed_and_step():
    one, other = learner()[1], learner()[1]
    _, seeded = semi("paws", replace(task(), seed=1), num_unlabelled=6, predictor_dim=0)
    batch, again = one(5), (other(2), other(5))[1]
    for different in (one(6), seeded(5)):
        for name in ("labelled", "local"):
            assert torch.equal(getattr(batch, name), getattr(again, name))
            assert not torch.equal(getattr(batch, name), getattr(different, name))
        assert all(torch.equal(a, b) for a, b in zip(batch.views, again.views, strict=True))
        assert not torch.equal(batch.views[0], different.views[0])
    assert not torch.equal(*batch.views)
    assert not torch.equal(*batch.labelled.chunk(2))


def test_small_views_of_less_than_two_pixels_are_refused():
    with pytest.raises(ParamsError, match=r"^train\.paws\.local\.side: expected at least 0\.250 .* got 0\.1$"):
        learner(local=LOCAL.model_copy(update={"side": 0.1}))


def statistics(net):
    return [buffer.clone() for name, buffer in net.named_buffers() if "running" in name]


@pytest.mark.parametrize("passes", HOWS)
def test_small_views_do_not_move_running_statistics(passes):
    found = []
    for wanted in (True, False):
        method, feed = learner(common={"batch_norm": passes})
        batch = feed(0)
        method.loss(batch if wanted else replace(batch, local=batch.local[:0]))
        found.append(statistics(method.net))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    other, feed = learner(common={"batch_norm": passes})
    before = statistics(other.net)
    if passes == "split":
        other.net(feed(0).views[0])
    else:
        other.net(torch.cat([feed(0).labelled, *feed(0).views]))
    assert not any(torch.equal(a, b) for a, b in zip(before, found[0], strict=True))
    if passes != "interleaved":
        for a, b in zip(statistics(other.net), found[0], strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("labels", "changes", "classes"),
    [
        ([0, 0, 0, 1], {}, 2),
        (list(range(8)), {"per_class": 1}, 8),
        ([7], {}, 1),
        (list(range(10)), {"classes": 3}, 3),
        ([0, 1], {"smoothing": 0.0, "temperature": 0.01, "sharpen": 0.01}, 2),
    ],
    ids=["one label", "two classes without", "one image", "more classes", "hard"],
)
def test_few_labels(labels, changes, classes, tmp_path):
    method, feed = learner(labels, **changes)
    trained(method, feed, tmp_path, 3)
    batch = feed(0)
    assert len(batch.labelled) == 2 * classes * changes.get("per_class", 2)
    step = method.loss(batch)
    assert step.loss.isfinite()
    if classes == 1:
        assert step.logs["unlabelled"].item() == pytest.approx(0, abs=1e-6)
        assert step.logs["me_max"].item() == pytest.approx(0, abs=1e-6)
    p = method.result(IMAGES).probabilities(PIXELS[:50], 50)["label"]
    labelled = sorted(set(labels))
    assert p[:, [c for c in range(10) if c not in labelled]].sum() < 1e-6
    assert p[:, labelled].min() >= changes.get("smoothing", 0.1) / len(labelled) - 1e-6


def test_a_tiny_training_lowers_every_part_of_the_loss(tmp_path):
    method, feed = learner(UNEVEN)
    batch = feed(0)
    curve = trained(method, lambda _: batch, tmp_path, 15)
    for name in ("loss", "labelled", "unlabelled"):
        assert curve[-1][name] < 0.8 * curve[0][name]
    assert curve[-1]["me_max"] == pytest.approx(-math.log(3), abs=0.1)


def test_the_models_readouts_are_the_methods_predictions(tmp_path):
    method, feed = learner(UNEVEN, {"ema_momentum": 0.2})
    trained(method, feed, tmp_path, 5)
    (tmp_path / "model").mkdir()
    method.result(IMAGES).write(tmp_path / "model", {})
    p = Classifier.read(tmp_path / "model").probabilities(PIXELS, 77)
    net, balanced = method.ema_net.eval(), [1, 2, 4, 3, 3, 3, 0, 5, 6]  # three labels of each class
    with torch.no_grad():
        h = net.backbone(PIXELS)
        z = net.head.projector(h)
    place = {1: 0, 3: 1, 5: 2}
    answers = [paws.smooth(place[UNEVEN[row]], 3, 0.1) for row in balanced]
    expected = torch.zeros(20, 10)
    for i in range(20):
        expected[i, [1, 3, 5]] = torch.tensor(paws.nearest(z[i].tolist(), z[balanced].tolist(), answers, 0.1))
    torch.testing.assert_close(p["label"][:20], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(p[LINEAR], net.head.layer(h).softmax(dim=1).detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(net.head.supports.norm(dim=1), torch.ones(len(UNEVEN)))
