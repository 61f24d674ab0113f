"""CMSF-semi against its rule in loops, its reductions to MSF and to supervised training, and what it remembers."""

import pytest
import torch
from torch.nn import functional as F

from pipeline.base.errors import ParamsError
from pipeline.pretrain.methods.msf import msf_loss
from pipeline.train.methods.cmsf import constrained_loss
from tests.digits import digits, semi, task
from tests.oracles import cmsf_semi as oracle
from tests.oracles.msf import push
from tests.train.helpers import IMAGES, state_of


def unit(n, d, seed):
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def learner(of=None, **changes):
    return semi("cmsf", of, **changes)


def example(label, rest):
    """Images of these classes, -1 where there is none, and a memory with them in front."""
    v, u = 2 * unit(len(label), 4, 0), unit(len(label), 4, 1)
    memory = torch.cat([u, unit(len(rest), 4, 2)])
    return v, u, torch.tensor(label), memory, torch.tensor([*label, *rest])


def labelled_gradients(supervised):
    """Gradients of the labelled loss in the backbone and in the head."""
    method, feed = learner(supervised=supervised)
    labelled, parts = method.loss(feed(0)).logs["labelled"], (method.net.backbone, method.net.head)
    options = {"retain_graph": True, "materialize_grads": True}
    grads = [torch.autograd.grad(labelled, [*part.parameters()], **options) for part in parts]
    return [torch.cat([grad.flatten() for grad in part]) for part in grads]


@pytest.mark.parametrize("k", [1, 3, 15])
@pytest.mark.parametrize(
    ("label", "rest"),
    [
        ([0, 1, 0, 2, 1], [0, 0, 1, 1, 2, 0, 2, 0, 1, 0]),
        ([0, -1, 5, -1, 1], [0, -1, -1, 1, 1, 0, -1, 0, 1, 1]),
        ([-1] * 5, [-1, 3, 2, -1, 0, 1, 1, 1, 0, -1]),
        ([0, 1, 2, 3, 4], [-1] * 10),
    ],
)
def test_loss_is_the_papers(k, label, rest):
    v, u, label, memory, memory_label = example(label, rest)
    named = [[None if c < 0 else c for c in classes.tolist()] for classes in (label, memory_label)]
    expected = oracle.constrained(v.tolist(), u.tolist(), named[0], memory.tolist(), named[1], k)
    assert constrained_loss(v, u, label, memory, memory_label, k).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("classes", [0, -1])
@pytest.mark.parametrize("k", [1, 3, 4])
def test_of_one_class_or_of_none_it_is_msf(classes, k):
    v, u, label, memory, memory_label = example([classes] * 5, [classes] * 10)
    ours, plain = v.clone().requires_grad_(), v.clone().requires_grad_()
    loss, expected = constrained_loss(ours, u, label, memory, memory_label, k), msf_loss(plain, u, memory, k)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(x, y)[0] for x, y in ((loss, ours), (expected, plain))))


def test_a_class_of_few_rows_takes_no_others():
    """Its rows alone, at whatever k; and no loss where it has none, which no queue can bring about."""
    v, u, label, memory, memory_label = example([3], [0, 1, 0, 1, 3])
    own = torch.stack([memory[0], memory[5]])
    for k in (2, 3, 6):
        torch.testing.assert_close(constrained_loss(v, u, label, memory, memory_label, k), msf_loss(v, u, own, 2))
    assert constrained_loss(v, u, label, memory, torch.zeros(6, dtype=torch.long), 3) == 0


def test_gradient_is_right_and_reaches_the_prediction_only():
    v, u, label, memory, memory_label = example([0, -1, 2, 1], [0, 1, 1, -1, 0])
    v, u, memory = (x.double().requires_grad_() for x in (v, u, memory))
    assert torch.autograd.gradcheck(lambda x: constrained_loss(x, u, label, memory, memory_label, 3), (v,))
    constrained_loss(v, u, label, memory, memory_label, 3).backward()
    assert v.grad.abs().sum() > 0
    assert u.grad is None
    assert memory.grad is None


def test_in_bfloat16_the_search_is_exact():
    v, u, label, memory, memory_label = example([0, 1, -1], [0, 1] * 1000)  # so many that some are nearly as near
    expected = constrained_loss(v, u, label, memory, memory_label, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(constrained_loss(v, u, label, memory, memory_label, 3), expected)


def test_the_queue_holds_embeddings_and_beside_them_labels_pseudo_labels_and_none():
    """Against lists."""
    method, feed = learner(queue_size=40)
    true = dict(zip(range(20), digits()[1][:20].tolist(), strict=True))
    queue, classes = method.queue.rows.tolist(), [None] * 40
    seen = {"label": 0, "pseudo-label": 0, "none": 0}
    for step in range(6):
        batch = feed(step)
        with torch.no_grad():
            h, z = method.target(batch.views[0])
            u, logits = F.normalize(z, dim=1), method.net.head(h)["label"]
            strong = method.net.backbone(torch.cat([batch.labelled, batch.views[1]]))[8:]
            v = method.predictor(method.projector(strong))
        rows = batch.rows.tolist()
        label = oracle.known(rows, true, logits.tolist(), 0.15)
        for row, c in zip(rows, label, strict=True):
            seen["label" if row in true else "none" if c is None else "pseudo-label"] += 1
        queue, classes = push(queue, u.tolist()), push(classes, label)
        expected = oracle.constrained(v.tolist(), u.tolist(), label, queue, classes, 3)
        out = method.loss(batch)
        assert out.logs["unlabelled"].item() == pytest.approx(expected, rel=1e-4)
        assert out.logs["mask_rate"].item() == pytest.approx(sum(c is not None for c in label) / 16)
        method.after_step(step + 1, 100)
    assert min(seen.values()) > 0
    order = (torch.arange(40) + int(method.queue.count)) % 40  # the oldest first
    torch.testing.assert_close(method.queue.rows[order], torch.tensor(queue))
    assert method.queue_label.rows[order, 0].tolist() == [-1 if c is None else c for c in classes]
    method.after_step(7, 100)  # nothing waits
    assert int(method.queue.count) == int(method.queue_label.count) == 96


def test_without_labels_and_pseudo_labels_it_is_msf_beside_the_labelled_loss():
    method, feed = learner(confidence=1.01)
    batch = next(batch for batch in map(feed, range(50)) if (batch.rows >= 20).all())
    before = state_of(method.target)
    out = method.loss(batch)
    assert out.logs["mask_rate"] == 0
    strong = method.net.backbone(torch.cat([batch.labelled, batch.views[1]]))[8:]
    method.target.load_state_dict(before)
    with torch.no_grad():
        u = F.normalize(method.target(batch.views[0])[1], dim=1)
    plain = msf_loss(method.predictor(method.projector(strong)), u, torch.cat([u, method.queue.rows[-34:]]), 3)
    torch.testing.assert_close(out.logs["unlabelled"], plain)
    torch.testing.assert_close(out.loss, plain + out.logs["labelled"])


def test_with_all_images_labelled_every_class_is_the_label():
    method, feed = learner(task(labels=[[c] for c in digits()[1][:300].tolist()]), confidence=0.0)
    for step in range(3):
        batch = feed(step)
        assert method.loss(batch).logs["mask_rate"] == 1
        method.after_step(step + 1, 100)
        assert torch.equal(method.queue_label.rows[16 * step : 16 * step + 16, 0].long(), digits()[1][batch.rows])


def test_the_labelled_loss_moves_the_backbone_as_far_as_asked():
    (none, half, full), heads = zip(*map(labelled_gradients, (0.0, 0.5, 1.0)), strict=True)
    assert not none.any()
    assert full.abs().sum() > 0
    torch.testing.assert_close(2 * half, full)
    assert all(torch.equal(heads[0], head) and head.any() for head in heads)


def test_the_labelled_loss_is_that_of_supervised_training_until_and_in_the_fine_tuning():
    """In eval mode, as in train mode batch norm rightly sees the unlabelled images too."""
    (method, feed), (other, _) = learner(), semi("supervised")
    other.net.load_state_dict(method.net.state_dict())
    method.eval()
    expected = other.eval().loss(feed(0)).loss
    torch.testing.assert_close(method.loss(feed(0)).logs["labelled"], expected)
    method.progress = 0.8
    out = method.loss(feed(0))
    torch.testing.assert_close(out.loss, expected)
    out.loss.backward()
    expected.backward()
    for (name, p), q in zip(method.net.named_parameters(), other.net.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, msg=name)


def test_in_the_fine_tuning_batch_norm_sees_weak_views():
    method, feed = learner()
    method.progress = 0.9
    batch = feed(0)
    logits = method.net(torch.cat([batch.labelled, batch.views[0]]))["label"][:8]
    torch.testing.assert_close(method.loss(batch).loss, F.cross_entropy(logits, batch.label[:, 0]))


@pytest.mark.parametrize(("finetune", "first"), [(0.0, 8), (0.25, 6), (1.0, 0)])
def test_the_last_steps_are_supervised_and_leave_the_queue(finetune, first):
    method, feed = learner(finetune=finetune)
    tuned = []
    for step in range(8):
        method.zero_grad()
        method.progress = step / 8
        out = method.loss(feed(step))
        out.loss.backward()
        tuned.append(next(method.predictor.parameters()).grad is None)
        assert tuned[-1] == (out.logs["unlabelled"] == 0)
        method.after_step(step + 1, 8)
    assert tuned == [step >= first for step in range(8)]
    assert int(method.queue.count) == int(method.queue_label.count) == 16 * first


def test_the_head_learns_from_labels_alone():
    method, feed = learner()
    method.loss(feed(0)).logs["unlabelled"].backward()
    assert all(p.grad is None or not p.grad.any() for p in method.net.head.parameters())


def test_the_target_encoder_has_a_momentum_and_batch_norm_of_its_own():
    method, feed = learner(task(ema_momentum=0.0), target_momentum=0.75)
    for net in (method.net.backbone, method.projector):
        with torch.no_grad():
            next(net.parameters()).add_(1.0)
    before = [next(net.parameters()).clone() for net in (method.target.backbone, method.target.head)]
    method.loss(feed(0))
    own = dict(method.target.backbone.named_buffers())["body.1.running_mean"].clone()
    method.after_step(1, 10)
    for net, old in zip((method.target.backbone, method.target.head), before, strict=True):
        torch.testing.assert_close(next(net.parameters()), old + 0.25)
    assert torch.equal(dict(method.target.backbone.named_buffers())["body.1.running_mean"], own)
    torch.testing.assert_close(next(method.ema_net.parameters()), next(method.net.parameters()))


def test_pseudo_labels_are_those_of_the_linear_layer_on_the_target_encoders_features():
    method, feed = learner(task(head="centroids"), confidence=0.5)
    method.start(IMAGES)
    batch = feed(0)
    rows, before = batch.rows, state_of(method.target)
    h, _ = method.target(batch.views[0])
    p = method.net.head(h)["label"].softmax(dim=1)
    method.target.load_state_dict(before)
    method.loss(batch)
    method.after_step(1, 10)
    label = method.queue_label.rows[:16, 0].long()
    pseudo = rows >= 20
    confident = p.amax(dim=1) >= 0.5
    assert 0 < (pseudo & confident).sum() < pseudo.sum()
    assert torch.equal(label[pseudo], p.argmax(dim=1).where(confident, -1)[pseudo])
    assert torch.equal(label[~pseudo], digits()[1][rows[~pseudo]])


def test_the_queue_is_no_longer_than_there_are_images_and_has_the_neighbours():
    method, _ = learner(queue_size=1000, neighbours=300)
    assert len(method.queue) == len(method.queue_label) == 300
    refusal = r"^train.cmsf.neighbours: expected at most 300, queue_size cut to the images, got 301$"
    with pytest.raises(ParamsError, match=refusal):
        learner(queue_size=1000, neighbours=301)
