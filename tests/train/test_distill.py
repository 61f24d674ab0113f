"""Distill: the student becomes the teacher, and which teachers are refused."""

import shutil

import pytest
import torch
from pydantic import ValidationError

from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import Levels
from pipeline.train.methods.distill import distill_loss
from tests.digits import backbone, digits, semi, task
from tests.method_values import WEAK
from tests.oracles import distill as oracle
from tests.train.helpers import HOWS, IMAGES, PIXELS, logits, trained

CLASSES = [str(i) for i in range(10)]
NONE = "expected a teacher, the model.json and model.safetensors of an earlier train, found none"


def write_teacher(folder, classes=CLASSES, channels=1, size=(8, 8)):
    """A random network that starts at the centroids of the digits' classes, so that its logits are not all alike."""
    folder.mkdir()
    net = Classifier(backbone(7, channels), Levels(64, {"label": list(classes)}), size)
    if channels == 1:
        h = net.eval().backbone(PIXELS)
        with torch.no_grad():
            weight = torch.stack([h[digits()[1][:300] == c].mean(dim=0) - h.mean(dim=0) for c in range(10)])
            weight = 8 * weight / weight.norm(dim=1, keepdim=True) / (h - h.mean(dim=0)).norm(dim=1).mean()
            rows = [CLASSES.index(name) for name in classes if name in CLASSES]
            net.head.layer(0).weight[: len(rows)] = weight[rows]
            net.head.layer(0).bias[: len(rows)] = -(weight @ h.mean(dim=0))[rows]
    net.write(folder, {})
    return folder


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("teacher") / "model")


def made(teacher, of=None, **changes):
    return semi("distill", of, **{"ratio": 4, "alpha": 1.0, "teacher": str(teacher), **changes})


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_loss_is_the_papers(temperature):
    student, teacher = logits(0, 12, 5), logits(1, 12, 5)
    expected = oracle.loss(student.tolist(), teacher.tolist(), temperature)
    assert distill_loss(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_temperature_divides_both():
    student, teacher = logits(0, 12, 5), logits(1, 12, 5)
    torch.testing.assert_close(distill_loss(3 * student, 3 * teacher, 3.0), distill_loss(student, teacher, 1.0))


def test_gradient_and_its_wall():
    student, teacher = logits(0, 12, 5).double().requires_grad_(), logits(1, 12, 5).double().requires_grad_()
    distill_loss(student, teacher, 2.0).backward()
    assert teacher.grad is None
    assert torch.autograd.gradcheck(lambda s: distill_loss(s, teacher, 2.0), student)


def test_the_student_becomes_the_teacher(teacher, tmp_path):
    still = WEAK.model_copy(update={"shift": 0.0})
    method, feed = made(teacher, task(weak=still), ratio=8)
    wanted = Classifier.read(teacher).probabilities(PIXELS, 100)["label"]
    entropy = -(wanted * wanted.log()).sum(dim=1).mean()

    def apart():
        """Kullback-Leibler divergence of the averaged student, and how often both predict the same class."""
        found = method.result(IMAGES).probabilities(PIXELS, 100)["label"]
        same = (found.argmax(dim=1) == wanted.argmax(dim=1)).float().mean()
        return (-(wanted * found.log()).sum(dim=1).mean() - entropy).item(), same.item()

    before = apart()
    trained(method, feed, tmp_path, 80)
    after = apart()
    assert before[1] < 0.3
    assert after[1] > 0.85
    assert after[0] < 0.15 * before[0]


def test_the_teacher_is_read_once_and_is_no_part_of_the_method(teacher, tmp_path):
    copied = shutil.copytree(teacher, tmp_path / "teacher")
    method, feed = made(copied)
    plain = {name for part in ("net", "ema_net") for name in method.net.state_dict(prefix=f"{part}.")}
    assert method.state_dict().keys() == plain
    shutil.rmtree(copied)
    again = method.feed(IMAGES)
    assert torch.equal(method.eval().loss(feed(0)).loss, method.loss(again(0)).loss)


def test_classes_are_matched_by_name(teacher, tmp_path):
    turned = write_teacher(tmp_path / "turned", [*reversed(CLASSES[2:]), "0", "1"])
    (one, feed), (other, _) = made(teacher), made(turned)
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(one.eval().loss(feed(0)).loss, other.eval().loss(feed(0)).loss)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_alpha_is_the_teachers_share(alpha, teacher):
    method, feed = made(teacher, alpha=alpha, temperature=2.0)
    method.eval()
    batch = made(teacher, alpha=0.5)[1](0)
    known, student = (method.net(images)["label"].tolist() for images in (batch.labelled, batch.views[0]))
    teachers = Classifier.read(teacher)(PIXELS)["label"][batch.rows].tolist()
    expected = oracle.both(known, batch.label[:, 0].tolist(), student, teachers, alpha, 2.0)
    assert method.loss(feed(0)).loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("how", HOWS)
def test_with_alpha_one_labelled_images_have_no_effect(how, teacher):
    method, feed = made(teacher, task(batch_norm=how))
    assert feed(0).num_images == 32
    out = method.train().loss(feed(0))
    torch.testing.assert_close(out.loss, out.logs["distilled"])
    alone, teachers = method.net(feed(0).views[0])["label"], Classifier.read(teacher)(PIXELS)["label"]
    torch.testing.assert_close(out.loss, distill_loss(alone, teachers[feed(0).rows], 1.0))


def test_another_student_is_untrained_and_normalised_as_the_given_backbone(teacher, tmp_path):
    method, feed = made(teacher, task(head="centroids"), backbone="wide_resnet10_1")
    given, student = backbone(), method.net.backbone
    assert student.about == {"name": "wide_resnet10_1", "options": {}, "channels": 1}
    assert torch.equal(student.mean, given.mean)
    assert torch.equal(student.std, given.std)
    assert student.mean.abs().sum() > 0
    head = method.net.head.layer(0).weight.detach().clone()
    method.start(IMAGES)
    assert torch.equal(method.net.head.layer(0).weight, head)
    assert all(row["loss"] > 0 for row in trained(method, feed, tmp_path, 2))


def test_options_are_those_of_the_students_block(teacher):
    method, _ = made(teacher, backbone="small_resnet", options={"width": 24, "stem_stride": 2})
    assert method.net.backbone.dim == 96
    with pytest.raises(ParamsError, match=r"^params.yaml: train.distill: options: missing \['stem_stride'\]$"):
        made(teacher, backbone="small_resnet", options={"width": 24})
    with pytest.raises(ValidationError, match="one of same, small_resnet, wide"):
        made(teacher, backbone="resnet19")
    with pytest.raises(ValidationError, match="none with backbone same"):
        made(teacher, options={"width": 24})


def refused(folder, message):
    with pytest.raises(ArtifactError) as caught:
        made(folder)
    assert str(caught.value) == f"{folder}{message}"


def test_teachers_that_do_not_fit_are_refused_in_one_line(tmp_path):
    refused(
        tmp_path / "none",
        f": {NONE}; copy them there before train writes others",
    )
    named = write_teacher(tmp_path / "named", [*CLASSES[:9], "nine"])
    classes = "expected a teacher of the 10 classes that the labels have, got one of"
    refused(named, f": {classes} 10; only one side has '9'")
    refused(write_teacher(tmp_path / "few", CLASSES[:4]), f": {classes} 4; only one side has '4'")
    shape = ": expected a teacher for images of 1 x 8 x 8, got one for"
    refused(write_teacher(tmp_path / "colour", channels=3), f"{shape} 3 x 8 x 8")
    refused(write_teacher(tmp_path / "large", size=(8, 9)), f"{shape} 1 x 8 x 9")
