"""t-ReX against its formula, its reduction to supervised training, and what its queue holds."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.nn.heads import cosine_logits
from pipeline.train.batch import SemiBatch
from pipeline.train.methods.trex import CropBatch, projections
from tests.digits import semi, task
from tests.method_values import NO_LOCAL
from tests.oracles import trex as oracle
from tests.train.helpers import IMAGES, PIXELS, changed, state_of, trained

PLAIN = {"queue_size": 0, "local": NO_LOCAL, "hidden_layers": 0}


def test_the_methods_loss_is_the_papers():
    """In float64 and eval mode, with the gradient in projections; one class has no row in the queue."""
    method, feed = semi("trex")
    method.double().eval()
    method.queue_label.rows[method.queue_label.rows == 3] = 4
    batch = feed(0)
    batch = CropBatch(batch.labelled.double(), batch.views.double(), batch.label)
    with torch.no_grad():
        z = torch.cat([projections(method.net, view) for view in (batch.labelled, *batch.views)])
    vectors = oracle.class_vectors(method.queue.rows.tolist(), method.queue_label.rows.tolist(), 10)
    assert vectors[3] == [0] * 8
    expected = oracle.loss(z.tolist(), batch.label.tolist() * 3, vectors, 0.1)
    step = method.loss(batch)
    assert step.logs["labelled"].item() == pytest.approx(expected, rel=1e-9)
    linear = F.cross_entropy(method.net.head.layer(method.net.backbone(batch.labelled)), batch.label)
    assert step.loss.item() == pytest.approx(expected + linear.item(), rel=1e-6)

    def loss(z):
        return F.cross_entropy(cosine_logits(z, method.class_vectors(), 0.1), batch.label)

    assert torch.autograd.gradcheck(loss, z[:8].clone().requires_grad_())


def test_without_queue_crops_and_layers_it_is_supervised_by_cosines(tmp_path):
    """The same network in `supervised`, on the same views, but for the linear layer."""
    (method, feed), twin, other = semi("trex", **PLAIN), semi("trex", **PLAIN)[0], semi("supervised")[0]
    other.net, other.ema_net = twin.net, twin.ema_net

    def same(step):
        batch = feed(step)
        return SemiBatch(batch.labelled, batch.label[:, None], (), torch.arange(0))

    curves = [trained(one, of, tmp_path / name, 4) for one, of, name in ((method, feed, "a"), (other, same, "b"))]
    assert [row["labelled"] for row in curves[0]] == [row["loss"] for row in curves[1]]
    layers = {f"{net}.head.layer.{part}" for net in ("net", "ema_net") for part in ("weight", "bias")}
    assert changed(method, state_of(other)) == layers


def test_small_crops_are_small_and_move_no_running_statistics_of_the_backbone():
    means = []
    for changes in ({}, {"local": NO_LOCAL}):
        method, feed = semi("trex", **changes)
        batch = feed(0)
        method.train().loss(batch)
        means.append(method.net.get_buffer("backbone.body.1.running_mean"))
        assert batch.views.shape[:2] == ((2, 8) if not changes else (0, 8))
    assert torch.equal(*means)
    assert semi("trex")[1](0).views.shape[-2:] == (4, 4)
    assert semi("trex")[1](0).num_images == 24


def test_the_queue_holds_the_averages_projections_of_the_large_views():
    """Four batches of eight in thirty rows, each by the average as it was before the step."""
    method, feed = semi("trex")
    rows, labels = [], []
    for step in range(4):
        batch = feed(step)
        with torch.no_grad():
            for p in method.net.parameters():
                p += 0.01
            method.train().loss(batch)
            rows.append(projections(method.ema_net, batch.labelled))
            labels.append(batch.label)
        method.after_step(step + 1, 4)
    held = torch.arange(2, 32) % 30
    torch.testing.assert_close(method.queue.rows[held], torch.cat(rows)[2:])
    assert torch.equal(method.queue_label.rows[held], torch.cat(labels)[2:])
    assert not torch.allclose(rows[0], rows[1])


def test_the_results_vectors_are_of_all_labelled_images_and_a_class_without_one_is_never_named(tmp_path):
    labels = [[3], [3], [5], [9]]
    method, feed = semi("trex", task(labels=labels, ema_momentum=0.0))
    trained(method, feed, tmp_path, 2)
    model = method.result(IMAGES)
    with torch.no_grad():
        z = projections(model, PIXELS[:4])
    vectors = oracle.class_vectors(z.tolist(), [3, 3, 5, 9], 10)
    torch.testing.assert_close(model.head.vectors.weight, torch.tensor(vectors))
    p = model.probabilities(PIXELS, 100)["label"]
    assert p.sum(dim=0).nonzero()[:, 0].tolist() == [3, 5, 9]


def test_its_projector_is_described_and_built_again():
    kinds = [next(iter(layer)) for layer in semi("trex", hidden_layers=2)[0].net.head.options["layers"]]
    assert kinds == ["unit", *["linear", "norm", "activation"] * 2, "linear"]
