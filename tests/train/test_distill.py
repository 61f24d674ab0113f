"""Distill: the student becomes the teacher, and which teachers are refused."""

import pytest
import torch
from pydantic import ValidationError

from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.fit import fit
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import Levels
from pipeline.train.methods.distill import Distill, DistillParams, distill_loss
from pipeline.train.pixels import Resident
from tests.digits import OPTIM, WEAK, backbone, digits, task
from tests.oracles import distill as oracle
from tests.train.family import CPU

CLASSES = [str(i) for i in range(10)]
PIXELS = digits()[0][:300]
NONE = "expected a teacher, the model.json and model.safetensors of an earlier train, found none"
PARAMS = {"backbone": "same", "options": {}, "ratio": 4, "alpha": 1.0, "temperature": 1.0, "keep": 0.9}


def write_teacher(folder, classes=CLASSES, channels=1, size=(8, 8)):
    """A network of chance that begins at the centroids of the labelled digits, and so has answers of its own."""
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
    method = Distill(backbone(), of or task().finest(), DistillParams(**{**PARAMS, "teacher": str(teacher), **changes}))
    return method, method.feed(Resident(PIXELS))


def logits(seed):
    return 2 * torch.randn(12, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_loss_is_the_papers(temperature):
    student, teacher = logits(0), logits(1)
    expected = oracle.loss(student.tolist(), teacher.tolist(), temperature)
    assert distill_loss(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_temperature_divides_both():
    student, teacher = logits(0), logits(1)
    torch.testing.assert_close(distill_loss(3 * student, 3 * teacher, 3.0), distill_loss(student, teacher, 1.0))


def test_gradient_and_its_wall():
    student, teacher = logits(0).double().requires_grad_(), logits(1).double().requires_grad_()
    distill_loss(student, teacher, 2.0).backward()
    assert teacher.grad is None
    assert torch.autograd.gradcheck(lambda s: distill_loss(s, teacher, 2.0), student)


def test_the_student_becomes_the_teacher(teacher, tmp_path):
    still = WEAK.model_copy(update={"shift": 0.0})
    method, feed = made(teacher, task(weak=still).finest(), ratio=8)
    wanted = Classifier.read(teacher).probabilities(PIXELS, 100)["label"]
    entropy = -(wanted * wanted.log()).sum(dim=1).mean()

    def apart():
        """Kullback-Leibler divergence of the slow student, and how often both say the same."""
        found = method.result(Resident(PIXELS)).probabilities(PIXELS, 100)["label"]
        same = (found.argmax(dim=1) == wanted.argmax(dim=1)).float().mean()
        return (-(wanted * found.log()).sum(dim=1).mean() - entropy).item(), same.item()

    before = apart()
    fit(method, feed, OPTIM, num_steps=80, seed=0, device=CPU, state=tmp_path, save_seconds=1e9)
    after = apart()
    assert before[1] < 0.3
    assert after[1] > 0.85
    assert after[0] < 0.15 * before[0]


def test_the_teacher_answers_once_and_is_no_part_of_the_method(teacher):
    method, _ = made(teacher)
    first = method._answers
    method.feed(Resident(PIXELS))
    assert method._answers is first
    assert not first.requires_grad
    expected = Classifier.read(teacher).probabilities(PIXELS, 7)["label"]
    torch.testing.assert_close(first.softmax(dim=1), expected)
    plain = {name for part in ("net", "slow") for name in method.net.state_dict(prefix=f"{part}.")}
    assert method.state_dict().keys() == plain
    assert {id(p) for p in method.parameters()} == {
        id(p) for net in (method.net, method.slow) for p in net.parameters()
    }


def test_classes_are_matched_by_name(teacher, tmp_path):
    plain, _ = made(teacher)
    turned, _ = made(write_teacher(tmp_path / "turned", [*reversed(CLASSES[2:]), "0", "1"]))
    torch.testing.assert_close(plain._answers, turned._answers)
    assert plain._answers.argmax(dim=1).unique().numel() > 5


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_alpha_is_the_teachers_share(alpha, teacher):
    method, feed = made(teacher, alpha=alpha, temperature=2.0)
    method.eval()
    batch = made(teacher, alpha=0.5)[1](0)
    known, student = (method.net(images)["label"].tolist() for images in (batch.labelled, batch.views[0]))
    answers = method._answers[batch.rows].tolist()
    expected = oracle.both(known, batch.label[:, 0].tolist(), student, answers, alpha, 2.0)
    assert method.loss(feed(0)).loss.item() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(method.loss(feed(0)).loss, method.loss(feed(0)).loss)


@pytest.mark.parametrize("how", ["joint", "interleaved", "split"])
def test_with_alpha_one_labelled_images_are_not_looked_at(how, teacher):
    method, feed = made(teacher, task(batch_norm=how).finest(), alpha=1.0)
    assert feed(0).num_images == 32
    assert torch.equal(feed(3).rows, feed(3).rows)
    out = method.train().loss(feed(0))
    torch.testing.assert_close(out.loss, out.logs["distilled"])
    alone = method.net(feed(0).views[0])["label"]
    torch.testing.assert_close(out.loss, distill_loss(alone, method._answers[feed(0).rows], 1.0))


def test_another_student_is_untrained_and_normalised_as_the_given_backbone(teacher, tmp_path):
    method, feed = made(teacher, task(head="centroids").finest(), backbone="wide_resnet10_1")
    given, student = backbone(), method.net.backbone
    assert student.about == {"name": "wide_resnet10_1", "options": {}, "channels": 1}
    assert torch.equal(student.mean, given.mean)
    assert torch.equal(student.std, given.std)
    assert student.mean.abs().sum() > 0
    head = method.net.head.layer(0).weight.detach().clone()
    method.start(Resident(PIXELS))
    assert torch.equal(method.net.head.layer(0).weight, head)
    rows = fit(method, feed, OPTIM, num_steps=2, seed=0, device=CPU, state=tmp_path, save_seconds=1e9)
    assert all(row["loss"] > 0 for row in rows)
    same, _ = made(teacher, task(head="centroids").finest())
    same.start(Resident(PIXELS))
    assert (same.slow.head.layer(0).bias != 0).all()


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


@pytest.mark.parametrize("labels", [[[3]], [[3], [3], [3], [7]]])
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_few_labels(labels, alpha, teacher, tmp_path):
    of = task(labels=labels, sampling="classes", head="centroids").finest()
    method, feed = made(teacher, of, alpha=alpha)
    method.start(Resident(PIXELS))
    fit(method, feed, OPTIM, num_steps=3, seed=0, device=CPU, state=tmp_path, save_seconds=1e9)
    assert all(tensor.isfinite().all() for tensor in method.state_dict().values())
