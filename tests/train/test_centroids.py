"""The start of linear layers: nearest centroids, level by level."""

import math

import pytest
import torch

from pipeline.train.centroids import LOGIT_SCALE, centroid_layer
from pipeline.train.methods.supervised import Supervised, SupervisedParams
from pipeline.train.pixels import Resident
from tests.digits import backbone, digits, semi, task
from tests.train.helpers import IMAGES, PIXELS


def features(seed, count):
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed)) + 2


def test_logits_are_cosines_to_the_classes_times_the_distance():
    known, some, x = features(0, 7), features(1, 20), features(2, 4)
    labels = [0, 0, 3, 3, 3, -1, 1]
    weight, bias = centroid_layer(known, torch.tensor(labels), some, 5)
    origin = [sum(column) / 20 for column in zip(*some.tolist(), strict=True)]

    def away(h):
        return [a - b for a, b in zip(h, origin, strict=True)]

    typical = sum(math.hypot(*away(h)) for h in some.tolist()) / 20
    for h in x.tolist():
        expected = []
        for c in range(5):
            rows = [away(row) for row, label in zip(known.tolist(), labels, strict=True) if label == c]
            direction = [
                sum(v / math.hypot(*row) for v, row in zip(column, rows, strict=True))
                for column in zip(*rows, strict=True)
            ]
            length = math.hypot(*direction) if rows else 1.0
            dot = sum(a * b for a, b in zip(away(h), direction, strict=True)) if rows else 0.0
            expected.append(LOGIT_SCALE * dot / length / typical)
        assert (weight @ torch.tensor(h) + bias).tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)
        assert expected[2] == expected[4] == 0


def test_images_that_are_all_alike_do_not_make_it_infinite():
    same = torch.ones(6, 5)
    weight, bias = centroid_layer(same, torch.tensor([0, 1, 1, 2, -1, 0]), same, 3)
    assert weight.abs().sum() == 0
    assert bias.abs().sum() == 0


def started(labels=None, pixels=PIXELS):
    """Supervised training at every level, after its start."""
    method = Supervised(backbone(), task(labels=labels, head="centroids"), SupervisedParams())
    method.start(Resident(pixels))
    return method


def test_every_level_starts_at_the_centroids_of_what_it_sees():
    method = started()
    both = backbone().train()(torch.cat([PIXELS[:20], PIXELS]))  # labelled and other images in one pass
    labelled, h = both[:20], both[20:]
    for level, start in enumerate(method.net.head.starts):
        labels = method.task.targets.labels[:, level]
        layer = method.net.head.layer(level)
        weight, bias = centroid_layer(labelled[:, start:], labels, h[:, start:], layer.out_features)
        torch.testing.assert_close(layer.weight.detach(), weight)
        torch.testing.assert_close(layer.bias.detach(), bias)
        assert torch.equal(method.ema_net.head.layer(level).weight, layer.weight)
    assert method.net.training
    assert all(p.requires_grad for p in method.net.parameters())


def test_classes_without_a_label_and_levels_without_one_for_an_image():
    method = started([[3, 1], [-1, 0], [3, -1]])
    fine, coarse = (method.net.head.layer(level).weight for level in range(2))
    assert [bool(row.abs().sum() > 0) for row in fine] == [c == 3 for c in range(10)]
    assert (coarse.abs().sum(dim=1) > 0).all()
    assert fine.isfinite().all()


def test_few_training_images_and_many_labels():
    labels = [[c] for c in digits()[1][:600].tolist()]  # more than go through the network at once
    method = started(labels, digits()[0][:600])
    # Three passes, each with every third labelled and every third other image.
    net, rows = backbone().train(), torch.arange(600).repeat(2)
    h = torch.empty(1200, 64)
    with torch.no_grad():
        for start in range(3):
            h[start::3] = net(digits()[0][rows[start::3]])
        weight, _ = centroid_layer(h[:600], torch.tensor(labels)[:, 0], h[600:], 10)
    torch.testing.assert_close(method.net.head.layer(0).weight.detach(), weight)


def test_a_frozen_backbone_has_its_centroids_in_eval_mode():
    method, _ = semi("linear", task(head="centroids"))
    method.start(IMAGES)
    h = backbone().eval()(PIXELS)
    weight, _ = centroid_layer(h[:20], method.task.targets.labels[:, 0], h, 10)
    torch.testing.assert_close(method.net.head.layer(0).weight.detach(), weight.detach())


def test_one_label_and_one_image():
    assert started([[3]], PIXELS[:1]).net.head.layer(0).weight.isfinite().all()
