"""What holds of every training method: `tests/test_fit.py` has the resume and bfloat16."""

import re

import pytest
import torch

from pipeline.nn.classifier import Classifier
from pipeline.train.method import EmaMethod, TrainMethod
from pipeline.train.methods import METHODS
from tests.digits import digits, semi, task
from tests.train.helpers import IMAGES, PIXELS, changed, finite, loss, state_of, trained

NAMES = sorted(METHODS)
ALIGNED = ["fixmatch", "flexmatch", "freematch", "softmatch", "mixmatch"]
BESIDE = ["nncsl", "paws", "proxynca", "trex"]  # a linear layer stands beside another head
# Of every four images one is labelled coarsely alone, one finely alone, two at both levels.
PARTLY = [[c if i % 4 != 1 else -1, c % 2 if i % 4 != 2 else -1] for i, c in enumerate(digits()[1][:20].tolist())]
FEW = [([[3]], "joint"), ([[4]] * 5, "split"), ([[3], [3], [3], [7]], "interleaved")]
every = pytest.mark.parametrize("name", NAMES)


@every
def test_its_kind(name):
    assert issubclass(METHODS[name], TrainMethod)
    assert issubclass(METHODS[name], EmaMethod) == (name not in ("gcd", "hiermatch", "promptcal"))
    assert METHODS[name].every_level == (name == "hiermatch")


@every
def test_numbers_of_its_block_have_a_range(name):
    numbers = {
        key: field for key, field in METHODS[name].Params.model_fields.items() if field.annotation in (int, float)
    }
    assert [key for key, field in numbers.items() if not field.metadata] == []


@every
def test_the_loss_is_the_same_twice_and_moves_nothing_but_running_statistics(name):
    method, feed = semi(name, **({"align": "labels"} if name in ALIGNED else {}))
    for step in range(3):
        batch, before = feed(step), state_of(method)
        one, two = loss(method, batch), loss(method, batch)
        assert torch.equal(one.loss, two.loss)
        assert all(torch.equal(one.logs[column], two.logs[column]) for column in one.logs)
        assert all("running" in moved for moved in changed(method, before))
        method.after_step(step + 1, 3)


@every
def test_gradients_reach_what_learns_and_nothing_else(name):
    method, feed = semi(name)
    method.train()
    loss(method, feed(0)).loss.backward()
    learns = {key for key, p in method.named_parameters() if p.grad is not None}
    fixed = {key for key, p in method.named_parameters() if "ema_net" in key or key.startswith(("target.", "teacher."))}
    if name == "trex":  # whose class vectors are the queue's
        fixed.add("net.head.vectors.weight")
    if name in ("linear", "finetune"):  # which begins with the head alone
        fixed |= {key for key, _ in method.named_parameters() if key.startswith("net.backbone")}
    assert learns == {key for key, _ in method.named_parameters()} - fixed
    assert all(p.grad.any() for p in method.parameters() if p.grad is not None and p.ndim > 1)


@every
def test_frozen_layers_stay_to_the_byte_and_the_others_learn(name, tmp_path):
    """A third of the layers are the stem and the first block, with batch norm's statistics."""
    method, feed = semi(name, task(frozen=1 / 3))
    before = state_of(method)
    trained(method, feed, tmp_path / "state", 6)
    moved = changed(method, before)
    assert not [key for key in moved if re.search(r"\.body\.[013]\.", key)]
    assert any(re.search(r"\.body\.[45]\..*weight", key) for key in moved) == (name != "linear")


@pytest.mark.parametrize(
    ("name", "changes"),
    [*((name, {}) for name in NAMES), *((n, {"align": a}) for n in ALIGNED for a in ("uniform", "labels"))],
)
@pytest.mark.parametrize(("labels", "how"), FEW, ids=["one label", "one class", "fewer than a batch"])
def test_few_labels_do(name, changes, labels, how):
    """One label, several of one class, eight classes without any: always fewer labelled images than a batch has."""
    method, feed = semi(name, task(labels=labels, batch_norm=how, sampling="classes", head="centroids"), **changes)
    method.start(IMAGES)
    for step in range(3):
        out = loss(method.train(), feed(step))
        out.loss.backward()
        assert finite([out.loss, *out.logs.values()])
        method.after_step(step + 1, 3)
    assert finite(p.grad for p in method.parameters() if p.grad is not None)
    assert finite(method.state_dict().values())
    for p in method.result(IMAGES).probabilities(PIXELS[:9], 9).values():
        torch.testing.assert_close(p.sum(dim=1), torch.ones(9))


@pytest.mark.parametrize("head", ["centroids", "random"])
@every
def test_the_start_sets_the_linear_layers_alone(name, head):
    method, _ = semi(name, task(head=head))
    before = state_of(method)
    method.start(IMAGES)
    moved = changed(method, before)
    layers = {key for key in before if ".head.layer" in key}
    assert moved == (layers if head == "centroids" else set())
    if head == "centroids" and layers:  # in train mode, as pseudo-labels are made
        part = "linear" if name in BESIDE else "label"
        made = method.base if name == "hiermatch" else method
        for net in (made.net, made.ema_net):
            net.train(name not in ("linear", "finetune", "bit"))
            prediction = net(PIXELS)[part].argmax(dim=1)
            assert (prediction == digits()[1][:300]).float().mean() > 0.3


@every
def test_training_lowers_the_losses(name, tmp_path):
    """On one batch, so that no chance is in it."""
    method, feed = semi(name, **({"finetune": 0.0} if name == "cmsf" else {}))
    batch = feed(0)
    rows = trained(method, lambda _: batch, tmp_path, 20)
    columns = ["labelled"] if "labelled" in rows[0] else ["loss"]
    columns += ["unlabelled"] if name in ("cmsf", "gcd") else []  # elsewhere it rises with the pseudo-labels that count
    for column in columns:
        assert sum(row[column] for row in rows[-5:]) < 0.9 * sum(row[column] for row in rows[:5]), column
    assert rows[-1].get("mask_rate", 1) > 0


@every
def test_the_model_is_the_same_twice_and_read_back_as_it_was_written(name, tmp_path):
    method, feed = semi(name)
    trained(method, feed, tmp_path / "state", 3)
    learning = state_of(method if name == "hiermatch" else method.net)
    model = method.result(IMAGES)
    first = model.probabilities(PIXELS[:50], 50)
    (tmp_path / "model").mkdir()
    model.write(tmp_path / "model", {})
    read = Classifier.read(tmp_path / "model").probabilities(PIXELS[:50], 20)
    second = method.result(IMAGES).probabilities(PIXELS[:50], 50)
    levels = {"hiermatch": ["label", "coarse"], **dict.fromkeys(BESIDE, ("label", "linear"))}.get(name, ["label"])
    assert list(read) == list(second) == list(first) == [*levels]
    for level, p in first.items():
        assert torch.equal(p, second[level])
        torch.testing.assert_close(read[level], p)
    assert changed(method if name == "hiermatch" else method.net, learning) == set()


@pytest.mark.parametrize("name", ["cmsf", "distill", "fixmatch", "mixmatch", "paws"])
def test_what_batch_norm_sees_is_the_users_choice(name):
    means = []
    for how in ("joint", "split"):
        method, feed = semi(name, task(batch_norm=how))
        loss(method, feed(0))
        means.append(method.net.get_buffer("backbone.body.1.running_mean"))
    assert not torch.allclose(*means)


def test_the_model_is_the_moving_average_with_its_running_statistics():
    method, feed = semi("fixmatch")
    method.train().loss(feed(0))
    with torch.no_grad():
        next(method.net.parameters()).add_(1.0)
    before = state_of(method.ema_net)
    method.after_step(1, 10)  # the momentum is warmed up: 2 / 11 at the first step
    for name in ("backbone.body.0.weight", "backbone.body.1.running_mean"):
        now = method.net.state_dict()[name]
        assert not torch.equal(now, before[name])
        expected = before[name] * 2 / 11 + now * 9 / 11
        torch.testing.assert_close(method.ema_net.state_dict()[name], expected, rtol=1e-5, atol=1e-6)
    assert method.result(IMAGES) is method.ema_net


@pytest.mark.parametrize("name", ALIGNED)
@pytest.mark.parametrize("labels", [None, PARTLY, [[3, 1], [-1, 0], [-1, 1], [4, -1]]])
def test_methods_of_several_levels_take_images_without_a_label_at_some(name, labels):
    of = task(labels=labels, sampling="classes")
    params = semi(name, of)[0].params
    method = METHODS[name](semi(name)[0].net.backbone, of, params)
    feed = method.feed(IMAGES)
    assert list(method.net.head.names) == ["label", "coarse"]
    before = state_of(method)
    for step in range(2):
        out = loss(method, feed(step))
        out.loss.backward()
        assert finite([out.loss])
        method.after_step(step + 1, 2)
    assert finite(p.grad for p in method.parameters() if p.grad is not None)
    remembered = {name for name in changed(method, before) if name.startswith("unlabelled.")}
    if name in ("flexmatch", "freematch", "softmatch") and (labels is None or len(labels) > 4):  # each level by itself
        assert {moved.split(".")[1] for moved in remembered} == {"0", "1"}
