"""CMSF-semi against its rule in loops, its reductions to MSF and to supervised training, and what it remembers."""

import copy
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from pipeline.base.errors import ParamsError
from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.pretrain.methods.msf import msf_loss
from pipeline.train.batch import Batch
from pipeline.train.methods.cmsf import CmsfSemi, CmsfSemiParams, constrained_loss
from pipeline.train.methods.supervised import Supervised, SupervisedParams
from pipeline.train.pixels import Resident
from pipeline.train.targets import Targets
from tests.digits import OPTIM, backbone, digits, task
from tests.oracles import cmsf_semi as oracle
from tests.oracles.msf import push

PARAMS = {
    "ratio": 2, "dim": 8, "hidden_dim": 16, "queue_size": 50, "neighbours": 3, "confidence": 0.15, "supervised": 0.5,
    "finetune": 0.25, "target_keep": 0.9, "keep": 0.9,
}  # fmt: skip
CPU = Device(torch.device("cpu"), bf16=False)


def unit(n, d, seed):
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def learner(todo=None, **changed):
    method = CmsfSemi(backbone(), (todo or task()).finest(), CmsfSemiParams(**{**PARAMS, **changed}))
    return method, method.feed(Resident(digits()[0][:300]))


def example(label, rest):
    """Images of these classes, -1 where it is not known, and a memory with them in front."""
    v, u = 2 * unit(len(label), 4, 0), unit(len(label), 4, 1)
    memory = torch.cat([u, unit(len(rest), 4, 2)])
    return v, u, torch.tensor(label), memory, torch.tensor([*label, *rest])


def labelled_only(method, batch):
    """Gradients of the labelled loss in the backbone and in the head."""
    method.zero_grad()
    method.loss(batch).logs["labelled"].backward(retain_graph=True)
    parts = method.net.backbone, method.net.head
    return [torch.cat([p.grad.flatten() for p in part.parameters()]) for part in parts]


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
    v, u, label, memory, beside = example(label, rest)
    named = [[None if c < 0 else c for c in classes.tolist()] for classes in (label, beside)]
    expected = oracle.constrained(v.tolist(), u.tolist(), named[0], memory.tolist(), named[1], k)
    assert constrained_loss(v, u, label, memory, beside, k).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("classes", [0, -1])
@pytest.mark.parametrize("k", [1, 3, 4])
def test_of_one_class_or_of_none_it_is_msf(classes, k):
    v, u, label, memory, beside = example([classes] * 5, [classes] * 10)
    ours, plain = v.clone().requires_grad_(), v.clone().requires_grad_()
    loss, expected = constrained_loss(ours, u, label, memory, beside, k), msf_loss(plain, u, memory, k)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(x, y)[0] for x, y in ((loss, ours), (expected, plain))))


def test_what_is_not_known_searches_all_and_is_found_by_none_that_is():
    v, u, label, memory, beside = example([-1, -1], [0, 1, 2, -1])
    torch.testing.assert_close(constrained_loss(v, u, label, memory, beside, 6), msf_loss(v, u, memory, 6))
    v, u, label, memory, beside = example([0, 0], [-1, -1, -1, -1])
    torch.testing.assert_close(constrained_loss(v, u, label, memory, beside, 6), msf_loss(v, u, u, 2))


def test_with_every_class_known_it_is_msf_within_each():
    v, u, label, memory, beside = example([0, 1, 0, 1], [0, 1, 1, 0, 1, 0])
    within = [msf_loss(v[label == c], u[label == c], memory[beside == c], 3) for c in (0, 1)]
    torch.testing.assert_close(constrained_loss(v, u, label, memory, beside, 3), sum(within) / 2)


def test_a_class_of_few_rows_takes_no_others():
    """Its rows alone, at whatever k; and no loss where it has none, which no queue can bring about."""
    v, u, label, memory, beside = example([3], [0, 1, 0, 1, 3])
    own = torch.stack([memory[0], memory[5]])
    for k in (2, 3, 6):
        torch.testing.assert_close(constrained_loss(v, u, label, memory, beside, k), msf_loss(v, u, own, 2))
    assert constrained_loss(v, u, label, memory, torch.zeros(6, dtype=torch.long), 3) == 0


def test_gradient_is_right_and_reaches_the_prediction_only():
    v, u, label, memory, beside = example([0, -1, 2, 1], [0, 1, 1, -1, 0])
    v, u, memory = (x.double().requires_grad_() for x in (v, u, memory))
    assert torch.autograd.gradcheck(lambda x: constrained_loss(x, u, label, memory, beside, 3), (v,))
    constrained_loss(v, u, label, memory, beside, 3).backward()
    assert v.grad.abs().sum() > 0
    assert u.grad is None
    assert memory.grad is None


def test_in_bfloat16_the_search_is_exact():
    v, u, label, memory, beside = example([0, 1, -1], [0, 1] * 1000)  # so many that some are nearly as near
    expected = constrained_loss(v, u, label, memory, beside, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(constrained_loss(v, u, label, memory, beside, 3), expected)


def test_the_method_remembers_what_it_says():
    """Against lists: embeddings and, in step with them, the classes, true ones, guesses and unknown ones."""
    method, feed = learner(queue_size=40)
    true = dict(zip(range(20), digits()[1][:20].tolist(), strict=True))
    queue, classes = method.queue.rows.tolist(), [None] * 40
    seen = {"true": 0, "guess": 0, None: 0}
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
            seen["true" if row in true else None if c is None else "guess"] += 1
        queue, classes = push(queue, u.tolist()), push(classes, label)
        expected = oracle.constrained(v.tolist(), u.tolist(), label, queue, classes, 3)
        out = method.loss(batch)
        assert out.logs["unlabelled"].item() == pytest.approx(expected, rel=1e-4)
        assert out.logs["kept"].item() == pytest.approx(sum(c is not None for c in label) / 16)
        method.after_step(step + 1, 100)
    assert min(seen.values()) > 0
    numbers = [-1 if c is None else c for c in classes]
    order = (torch.arange(40) + int(method.queue.count)) % 40  # the oldest first
    torch.testing.assert_close(method.queue.rows[order], torch.tensor(queue))
    assert method.queue_label.rows[order, 0].tolist() == numbers


def test_all_unlabelled_and_never_sure_it_is_msf_beside_the_labelled_loss():
    method, feed = learner(confidence=1.01)
    batch = next(batch for batch in map(feed, range(50)) if (batch.rows >= 20).all())
    out = method.loss(batch)
    ((u, label),) = method._waiting
    assert label.tolist() == [-1] * 16
    assert out.logs["kept"] == 0
    strong = method.net.backbone(torch.cat([batch.labelled, batch.views[1]]))[8:]
    plain = msf_loss(method.predictor(method.projector(strong)), u, torch.cat([u, method.queue.rows[-34:]]), 3)
    torch.testing.assert_close(out.logs["unlabelled"], plain)
    torch.testing.assert_close(out.loss, plain + out.logs["labelled"])


def test_with_all_labelled_every_class_is_the_true_one():
    method, feed = learner(task(labels=[[c] for c in digits()[1][:300].tolist()]), confidence=0.0)
    for step in range(3):
        batch = feed(step)
        assert method.loss(batch).logs["kept"] == 1
        assert torch.equal(method._waiting[0][1], digits()[1][batch.rows])


def test_with_one_class_there_is_it_is_msf():
    whole = task(labels=[[0]] * 4).finest()
    one = replace(whole, targets=Targets({"label": ["only"]}, whole.targets.rows, whole.targets.labels))
    method, feed = learner(one, confidence=1.0, supervised=0.0)
    never, _ = learner(one, confidence=1.01, supervised=0.0)
    for step in range(4):  # the queue's rows of chance, which no class has, are gone after the third
        sure, unsure = method.loss(feed(step)), never.loss(feed(step))
        method.after_step(step + 1, 100)
        never.after_step(step + 1, 100)
    assert sure.logs["kept"] == 1
    assert unsure.logs["kept"] < 0.5
    torch.testing.assert_close(sure.logs["labelled"], torch.tensor(0.0))
    torch.testing.assert_close(sure.logs["unlabelled"], unsure.logs["unlabelled"])


def test_the_labelled_loss_moves_the_backbone_as_far_as_asked():
    (none, half, full, _), heads = zip(*(labelled_only(*made(s)) for s in (0.0, 0.5, 1.0, 1.0)), strict=True)
    assert not none.any()
    assert full.abs().sum() > 0
    torch.testing.assert_close(2 * half, full)
    assert all(torch.equal(heads[0], head) and head.any() for head in heads)


def made(supervised):
    method, feed = learner(supervised=supervised)
    return method, feed(0)


def test_the_labelled_loss_is_that_of_supervised_training_until_and_in_the_fine_tuning():
    method, feed = learner()
    other = Supervised(copy.deepcopy(method.net.backbone), task().finest(), SupervisedParams(keep=0.9)).eval()
    other.net.head.load_state_dict(method.net.head.state_dict())
    # In eval mode, as in train mode batch norm rightly sees the unlabelled images too.
    method.eval()
    expected = other.loss(feed(0)).loss
    torch.testing.assert_close(method.loss(feed(0)).logs["labelled"], expected)
    method.after_step(8, 10)
    out = method.loss(feed(0))
    torch.testing.assert_close(out.loss, expected)
    out.loss.backward()
    expected.backward()
    for (name, p), q in zip(method.net.named_parameters(), other.net.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, msg=name)


def test_in_the_fine_tuning_batch_norm_sees_weak_views():
    method, feed = learner()
    method.after_step(9, 10)
    batch = feed(0)
    logits = method.net(torch.cat([batch.labelled, batch.views[0]]))["label"][:8]
    torch.testing.assert_close(method.loss(batch).loss, F.cross_entropy(logits, batch.label[:, 0]))


@pytest.mark.parametrize(("finetune", "first"), [(0.0, None), (0.25, 6), (1.0, 0)])
def test_the_last_steps_are_supervised_and_leave_the_queue(finetune, first):
    method, feed = learner(finetune=finetune)
    tuned = []
    for step in range(8):
        method.zero_grad()
        out = method.loss(feed(step))
        out.loss.backward()
        tuned.append(next(method.predictor.parameters()).grad is None)
        assert tuned[-1] == (out.logs["unlabelled"] == 0) == (not method._waiting)
        method.after_step(step + 1, 8)
    first = 8 if first is None else first
    assert tuned == [step >= first for step in range(8)]
    assert int(method.queue.count) == int(method.queue_label.count) == 16 * first


def test_what_batch_norm_sees_is_the_users_choice():
    norms = {}
    for how in ("joint", "interleaved", "split"):
        method, feed = learner(task(batch_norm=how))
        method.loss(feed(0))
        norms[how] = dict(method.net.named_buffers())["backbone.body.1.running_mean"]
    assert not torch.allclose(norms["joint"], norms["split"])
    assert not torch.allclose(norms["joint"], norms["interleaved"])


def test_gradients_reach_all_but_the_slow_copies_and_the_head_learns_from_labels_alone():
    method, feed = learner()
    out = method.loss(feed(0))
    out.logs["unlabelled"].backward(retain_graph=True)
    assert all(p.grad is None or not p.grad.any() for p in method.net.head.parameters())
    out.loss.backward()
    slow = [*method.slow.parameters(), *method.target.parameters()]
    assert not any(p.requires_grad or p.grad is not None for p in slow)
    learning = [*method.net.parameters(), *method.projector.parameters(), *method.predictor.parameters()]
    assert all(p.grad is not None and p.grad.any() for p in learning if p.ndim > 1)


def test_the_slow_encoder_has_a_pace_and_batch_norm_of_its_own():
    method, feed = learner(target_keep=0.75, keep=0.0)
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
    torch.testing.assert_close(next(method.slow.parameters()), next(method.net.parameters()))
    assert method.result(Resident(digits()[0][:300])) is method.slow


def test_a_class_is_that_of_the_linear_layer_which_starts_at_the_centroids():
    method, feed = learner(task(head="centroids"), confidence=0.5)
    method.start(Resident(digits()[0][:300]))
    h, _ = method.target(feed(0).views[0])
    p = method.net.head(h)["label"].softmax(dim=1)
    method.loss(feed(0))
    label, rows = method._waiting[0][1], feed(0).rows
    guessed = (label >= 0) & (rows >= 20)
    assert 0 < guessed.sum() < 16
    assert torch.equal(label[guessed], p.argmax(dim=1)[guessed])
    assert torch.equal(label[rows < 20], digits()[1][rows[rows < 20]])
    torch.testing.assert_close(p.amax(dim=1) >= 0.5, guessed | ((rows < 20) & (p.amax(dim=1) >= 0.5)))


@pytest.mark.parametrize("confidence", [0.0, 0.15, 1.01])
@pytest.mark.parametrize("labels", [[[4]], [[4]] * 5, [[0], [3], [3], [3]]])
def test_few_labels_train_and_stay_finite(labels, confidence, tmp_path):
    """One label, several of one class, and classes without any: always fewer labelled images than a batch has."""
    method, feed = learner(task(labels=labels, head="centroids"), confidence=confidence)
    method.start(Resident(digits()[0][:300]))
    rows = fit(method, feed, OPTIM, num_steps=6, seed=0, device=CPU, state=tmp_path, save_seconds=1e9)
    assert all(torch.tensor(list(row.values())).isfinite().all() for row in rows)
    p = method.result(Resident(digits()[0][:300])).probabilities(digits()[0][:9], 9)["label"]
    torch.testing.assert_close(p.sum(dim=1), torch.ones(9))


def test_an_image_that_stands_twice_in_a_batch_does_no_harm():
    method, feed = learner()
    batch = feed(0)
    twice = [view[torch.tensor([0] * 16)] for view in batch.views]
    out = method.loss(Batch(batch.labelled, batch.label, twice, batch.rows[:1].expand(16)))
    assert out.loss.isfinite()


def test_loss_twice_gives_the_same_and_remembers_nothing():
    method, feed = learner()
    for step in range(3):
        method.loss(feed(step))
        method.after_step(step + 1, 10)
    kept = [*method.queue.buffers(), *method.queue_label.buffers(), method.progress]
    copies = [buffer.clone() for buffer in kept]
    first = method.loss(feed(3)).loss
    assert torch.equal(first, method.loss(feed(3)).loss)
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))
    for step in (4, 5):  # the second time nothing waits
        method.after_step(step, 10)
        assert int(method.queue.count) == int(method.queue_label.count) == 64


def test_the_queue_is_no_longer_than_there_are_images_and_has_the_neighbours():
    method, _ = learner(queue_size=1000, neighbours=300)
    assert len(method.queue) == len(method.queue_label) == 300
    refusal = r"^train.cmsf.neighbours: expected at most 300, queue_size cut to the images, got 301$"
    with pytest.raises(ParamsError, match=refusal):
        learner(queue_size=1000, neighbours=301)


@pytest.mark.parametrize(
    "bad",
    [
        {"neighbours": 0},
        {"ratio": 0},
        {"queue_size": 0},
        {"confidence": -0.1},
        {"supervised": -1.0},
        {"finetune": 1.1},
        {"target_keep": 1.0},
        {"keep": 1.0},
    ],
)
def test_values_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        CmsfSemiParams(**{**PARAMS, **bad})


def test_training_lowers_both_losses(tmp_path):
    method, feed = learner(finetune=0.0)
    rows = fit(method, lambda _: feed(0), OPTIM, num_steps=15, seed=0, device=CPU, state=tmp_path, save_seconds=1e9)
    assert rows[-1]["unlabelled"] < 0.6 * rows[0]["unlabelled"]
    assert rows[-1]["labelled"] < 0.8 * rows[0]["labelled"]
