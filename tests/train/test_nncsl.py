"""NNCSL against its equations, what it is without a former model, and which former models it can go on from."""

from pathlib import Path

import pytest
import torch

from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import Levels, soft_nearest
from pipeline.train.by_supports import smooth
from pipeline.train.methods.nncsl import distillation
from tests.digits import backbone, former, semi, task
from tests.oracles import nncsl as oracle
from tests.oracles import paws
from tests.train.helpers import IMAGES, changed, loss, state_of, trained

BOTH = [3, 7, 1, 7, 3, 9]  # 1 and 3 are old, 7 and 9 new


def learner(labels=BOTH, common=(), **changes):
    return semi("nncsl", task(labels=[[label] for label in labels], method="nncsl", **dict(common)), **changes)


def rows(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_distillation_is_the_papers_and_its_gradient_stops_at_the_former_model():
    now, then, supports, before = rows(5, 4, seed=0), rows(5, 4, seed=1), rows(6, 4, seed=2), rows(6, 4, seed=3)
    expected = oracle.distillation(
        now.tolist(), then.tolist(), supports.tolist(), before.tolist(), BOTH, [1, 3], 0.1, 0.2
    )
    kept = [0, 2, 4]
    answers = smooth(torch.tensor([1, 0, 1]), 2, 0.1)
    q = soft_nearest(then, before[kept], answers, 0.2).requires_grad_()

    def total(z, of):
        return distillation(soft_nearest(z, of, answers, 0.2), q)

    assert total(now, supports[kept]).item() == pytest.approx(expected, rel=1e-6)
    assert torch.autograd.gradcheck(total, (now.requires_grad_(), supports[kept].requires_grad_()))
    total(now, supports[kept]).backward()
    assert q.grad is None


@pytest.mark.parametrize(("stream", "of_paws"), [(False, [1, 3, 7, 9]), (True, [7, 9])])
def test_the_methods_loss_is_the_papers(stream, of_paws):
    """In eval mode, so that passes do not matter; the former model is one with other weights by now."""
    method, feed = learner(predictor_dim=0, stream=stream)
    with torch.no_grad():
        for p in method.net.parameters():
            p += 0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    batch, net, before = feed(0), method.eval().net, Classifier.read(Path(former(1)))
    views = [batch.labelled, *batch.views, *batch.local]
    with torch.no_grad():
        z, then = ([m.head.projector(m.backbone(view)).tolist() for view in views] for m in (net, before))
        linear = torch.nn.functional.cross_entropy(net.head.layer(net.backbone(batch.labelled)), batch.label).item()
    label = batch.label.tolist()
    kept = [i for i, name in enumerate(label) if name in of_paws]
    supports, place = [z[0][i] for i in kept], [of_paws.index(label[i]) for i in kept]
    parts = paws.losses(z[1:], z[1:3], supports, supports, place, len(of_paws), 0.1, 0.1, 0.25)
    flat = [[row for view in of[1:] for row in view] for of in (z, then)]
    distilled = oracle.distillation(*flat, z[0], then[0], label, [1, 3], 0.1, 0.1)
    step = method.loss(batch)
    assert step.logs["unlabelled"].item() == pytest.approx(parts[0], rel=1e-4)
    assert step.logs["me_max"].item() == pytest.approx(parts[1], rel=1e-4)
    assert step.logs["distilled"].item() == pytest.approx(distilled, rel=1e-4)
    unmoved = oracle.distillation(flat[1], flat[1], then[0], then[0], label, [1, 3], 0.1, 0.1)
    assert distilled > 1.05 * unmoved  # else the test could not tell one network from the other
    assert step.loss.item() == pytest.approx(parts[0] + parts[1] + linear + 0.7 * distilled, rel=1e-4)


def test_the_first_round_without_the_linear_layers_gradient_is_paws(tmp_path, caplog):
    with caplog.at_level("INFO"):
        method, feed = learner(previous=str(tmp_path), supervised=0.0, stream=False)
    assert caplog.messages == [f"no model in train.nncsl.previous, {tmp_path}: this is the first round"]
    other, other_feed = semi("paws", task(labels=[[label] for label in BOTH], method="paws"))
    curves = [trained(one, of, tmp_path / name, 4) for one, of, name in ((method, feed, "a"), (other, other_feed, "b"))]
    assert curves[0] == curves[1]
    assert changed(other, state_of(method)) == set()


def test_supervised_is_the_share_of_the_linear_layers_gradient_in_the_backbone():
    grads = []
    for share in (0.25, 1.0):
        method, feed = learner(supervised=share)
        logs = method.loss(feed(0)).logs
        parts = method.net.backbone.body, method.net.head.layer
        grads.append([torch.autograd.grad(logs["labelled"], [*part.parameters()], retain_graph=True) for part in parts])
    (quarter, layer), (whole, same) = grads
    assert all(torch.equal(a, b) for a, b in zip(layer, same, strict=True))
    for a, b in zip(quarter, whole, strict=True):
        torch.testing.assert_close(4 * a, b, rtol=1e-4, atol=1e-6)
    assert any(grad.any() for grad in whole)


def test_it_goes_on_from_the_former_network_which_stays_as_it_was(tmp_path):
    method, feed = learner(predictor_dim=0)
    before = Classifier.read(Path(former(1)))
    for net in (method.net, method.ema_net):
        for part in ("backbone", "head.projector", "head.layer"):
            assert changed(before.get_submodule(part), state_of(net.get_submodule(part))) == set()
    assert not any("former" in name for name in method.state_dict())
    batch = feed(0)
    first = method.eval().loss(batch).logs["distilled"]
    trained(method, feed, tmp_path, 3)
    assert abs(method.eval().loss(batch).logs["distilled"] - first) > 1e-3
    method.net.load_state_dict(learner()[0].net.state_dict())
    assert torch.equal(method.loss(batch).logs["distilled"], first)


def test_classes_are_matched_by_name(tmp_path):
    """The former model has other classes, in another order."""
    names = ["new", "9", "3", "1"]
    before = Classifier.read(Path(former(1)))
    head = type(before.head)(64, {"label": names, "linear": names}, **before.head.options)
    head.load_state_dict({**before.head.state_dict(), "answers": torch.eye(4)[[0, 0, 2, 3, 3]],
        "layer.weight": torch.arange(4.0)[:, None].expand(4, 64), "layer.bias": torch.arange(4.0)})  # fmt: skip
    Classifier(before.backbone, head, (8, 8)).write(tmp_path, {})
    method, feed = learner(previous=str(tmp_path))
    assert method.net.head.layer.bias[[9, 3, 1]].tolist() == [1, 2, 3]
    assert method.net.head.layer.weight[[9, 3, 1], 5].tolist() == [1, 2, 3]
    other, other_feed = learner()
    assert torch.equal(loss(method, feed(0)).logs["distilled"], loss(other, other_feed(0)).logs["distilled"])


@pytest.mark.parametrize(("labels", "same"), [([3, 1, 4], True), ([3, 1, 7, 9], False)])
def test_a_stream_without_a_new_class_has_all_classes(labels, same):
    (method, feed), (other, other_feed) = learner(labels, stream=True), learner(labels, stream=False)
    assert torch.equal(loss(method, feed(0)).loss, loss(other, other_feed(0)).loss) is same


def refused(folder, says, kind=ArtifactError, **changes):
    with pytest.raises(kind) as caught:
        learner(**{"previous": str(folder), **changes})
    assert str(caught.value) == says.format(folder)


def test_models_that_it_cannot_go_on_from_are_refused_in_one_line(tmp_path):
    network = "{}: expected the network, projection and image size of this training, "
    refused(former(1), network + "head.projector.0.weight: [32, 64], got [16, 64]", hidden_dim=32)
    for name, net, size in (("linear", Levels(64, {"label": ["1"]}), (8, 8)), ("large", None, (9, 9))):
        (tmp_path / name).mkdir()
        Classifier(backbone(), net or Classifier.read(Path(former(1))).head, size).write(tmp_path / name, {})
    refused(tmp_path / "linear", "{}: expected a model by nncsl or paws, got one whose head is levels")
    refused(tmp_path / "large", network + "(8, 8), got (9, 9)")
    refused(former(1), "{}: expected labels of classes that this model knows, such as '0', got none: keep the labels "
            "and the labelled images of earlier rounds", labels=[7, 9])  # fmt: skip
    (tmp_path / "half").mkdir()
    (tmp_path / "half/model.safetensors").touch()
    refused(tmp_path / "half", "{}: expected a folder with model.json and model.safetensors, or without both")
    refused(former(1), "train.nncsl.classes: expected at least 4, all classes with a label, as a batch has supports of "
            "old and of new ones, got 3", ParamsError, classes=3)  # fmt: skip


def test_a_stream_with_one_new_class_is_warned_of(caplog):
    says = "train.nncsl.stream: one class is new, and has no other to be told from: try false"
    learner([3, 1, 7, 9], stream=True)
    assert says not in caplog.messages
    learner([3, 1, 7], stream=True)
    assert says in caplog.messages


def test_old_classes_that_lost_their_labels_are_named(caplog):
    learner([3, 7, 9])
    assert any("the model knows 0, 1, " in said and "will be forgotten" in said for said in caplog.messages)


def test_the_result_knows_old_and_new_classes(tmp_path):
    method, feed = learner()
    trained(method, feed, tmp_path, 3)
    answers = method.result(IMAGES).head.answers.sum(dim=0)
    assert answers.nonzero()[:, 0].tolist() == [1, 3, 7, 9]
