"""GCD: its loss against loops, its reductions, the classes that it names, and what it refuses."""

from dataclasses import replace

import pytest
import torch

from pipeline.base.errors import ParamsError
from pipeline.nn.contrast import nt_xent, sup_con
from pipeline.nn.primitives import unit
from pipeline.train.discovery import new_names
from tests.digits import digits, semi, task
from tests.oracles import gcd as oracle
from tests.oracles.simclr import simclr
from tests.refusals import refusal_of
from tests.train.helpers import IMAGES, PIXELS

KNOWN = [[digit] for digit in digits()[1][:40].tolist() if digit < 4]


def known_digits(**changes):
    """Digits of which some below 4 have a label, and those above none."""
    of = task(labels=[[0]] * len(KNOWN), method="gcd", **changes)
    rows = (digits()[1][:40] < 4).nonzero()[:, 0]
    return replace(of, targets=replace(of.targets, rows=rows, labels=torch.tensor(KNOWN)))


def test_the_loss_is_the_weighted_sum_of_both():
    method, feed = semi("gcd", supervised=0.3)
    batch = feed(1)
    out = method.eval().loss(batch)
    first, second = (method.net(part)[1].tolist() for part in batch.labelled.chunk(2))
    one, two = (method.net(view)[1].tolist() for view in batch.views)
    label = batch.label.chunk(2)[0].tolist()
    assert len(set(label)) < len(label)
    labelled, every = oracle.sup_con(first, second, label, 0.07), simclr(one, two, 0.2)
    assert out.logs["labelled"].item() == pytest.approx(labelled, rel=1e-4)
    assert out.logs["unlabelled"].item() == pytest.approx(every, rel=1e-4)
    assert out.loss.item() == pytest.approx(0.3 * labelled + 0.7 * every, rel=1e-4)


@pytest.mark.parametrize(("weight", "part"), [(0.0, "unlabelled"), (1.0, "labelled")])
def test_at_either_end_it_is_one_loss_alone(weight, part):
    method, feed = semi("gcd", supervised=weight)
    out = method.loss(feed(0))
    torch.testing.assert_close(out.loss, out.logs[part])


def test_of_images_that_each_are_a_class_the_labelled_loss_is_simclrs():
    z1, z2 = (unit(torch.randn(6, 5, generator=torch.Generator().manual_seed(i))) for i in range(2))
    torch.testing.assert_close(sup_con(z1, z2, torch.arange(6) + 3, 0.2), nt_xent(z1, z2, 0.2))


def test_the_result_names_the_known_classes_and_numbers_the_new_ones():
    method, _ = semi("gcd", known_digits(), num_classes=7)
    method.ema_net.train()(PIXELS)  # running statistics of digits
    result = method.result(IMAGES)
    assert result.classes == ["0", "1", "2", "3", "new 1", "new 2", "new 3"]
    said = result.probabilities(PIXELS, 300)["label"].argmax(dim=1)
    assert said.bincount(minlength=7).min() > 0
    known = digits()[1][:300] < 4
    assert (said[known] == digits()[1][:300][known]).float().mean() > 0.5


def test_of_all_clusters_an_image_is_said_to_be_of_the_one_whose_centroid_is_nearest():
    method, _ = semi("gcd", known_digits(), num_classes=6, supervised_temperature=0.5)
    method.ema_net.train()(PIXELS)
    result = method.result(IMAGES)
    with torch.no_grad():
        h, weight = result.backbone(PIXELS), result.head.layer(0).weight
    assert not result.head.layer(0).bias.any()
    torch.testing.assert_close(weight.norm(dim=1), torch.full((6,), (1 / (0.5 * h.norm(dim=1).mean())).item()))
    assert torch.equal(result(PIXELS)["label"].argmax(dim=1), (unit(h) @ unit(weight).T).argmax(dim=1))


def test_without_a_number_of_classes_it_is_estimated_and_said(caplog):
    method, _ = semi("gcd", known_digits(), num_classes=None)
    with caplog.at_level("INFO"):
        classes = method.result(IMAGES).classes
    assert 4 <= len(classes) <= 12
    assert caplog.messages[-1].startswith("probably ")
    assert caplog.messages[-1].endswith("of them without a label (train.gcd.num_classes)")


def test_a_new_class_takes_no_name_that_is_there():
    names = new_names(["new 2", "cat"])
    assert [next(names) for _ in range(3)] == ["new 1", "new 3", "new 4"]


def test_one_class_does_not_tell_how_many_there_are():
    one = task(labels=[[0]] * 3, method="gcd")
    expected = (
        "train.gcd.num_classes: expected a number where all labels are of one class, as these do not tell how many "
    )
    says = refusal_of(lambda: semi("gcd", one, num_classes=None), kind=ParamsError)
    assert says == f"{expected}classes there are, got null"
    semi("gcd", one, num_classes=2)


@pytest.mark.parametrize("number", [3, 301])
def test_a_number_of_classes_below_those_with_a_label_or_above_the_images_is_refused(number):
    says = refusal_of(lambda: semi("gcd", known_digits(), num_classes=number), kind=ParamsError)
    expected = "train.gcd.num_classes: expected 4, the classes that have a label, to 300, the training images"
    assert says == f"{expected}, got {number}; null estimates it"
