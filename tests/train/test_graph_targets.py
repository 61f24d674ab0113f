"""The graph's soft targets in what unlabelled images are taught, and in the start of the linear layer."""

import shutil
from contextlib import suppress
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from pipeline.artifacts.neighbours import Neighbours
from pipeline.base.files import sha256
from pipeline.fit import fit
from pipeline.graph.estimate import tempered
from pipeline.graph.probe import fit_targets
from pipeline.graph.propagation import PropagateParams
from pipeline.graph.run import nearest_others
from pipeline.graph.spread import TOP
from pipeline.nn.heads import Levels
from pipeline.train import run as train_run
from pipeline.train.graph_targets import GraphTargets
from pipeline.train.head_start import probe_layer
from pipeline.train.method import EmaMethod
from pipeline.train.methods import METHODS
from pipeline.train.spreading import Spreading
from pipeline.train.targets import Targets
from pipeline.vectors.geometry import unit
from stages.train import main as train
from tests.clouds import SEARCH
from tests.commands import call, refusal
from tests.digits import digits, semi, task
from tests.method_values import OPTIM
from tests.train.helpers import CPU, IMAGES, PIXELS, confident, logits, state_of, unlabelled_loss

GUESSING = ["cmsf", "fixmatch", "flexmatch", "freematch", "hiermatch", "mixmatch", "nncsl", "paws", "softmatch"]
PARAMS = PropagateParams(alpha=0.9, prior="uniform", readout="auto")
guessing = pytest.mark.parametrize("name", GUESSING)


@cache
def spreading():
    x = unit(PIXELS.flatten(1).numpy().astype(np.float32))
    return Spreading(x, nearest_others(x, 6, SEARCH)[0], PARAMS, None, np.array([], np.int64), [])


def told(**changes):
    """The digits' task with the graph's targets."""
    of = task(**{"targets": "propagated", **changes})
    return replace(of, graph=spreading().targets(of.targets, CPU.device))


def after(name, of, folder, steps=3, stop_at=None):
    """The state that a training ends in, which is saved at each step; with `stop_at` it dies at the start of one."""
    method, feed = semi(name, of)
    method.start(IMAGES)

    def batch_at(step):
        if step == stop_at:
            raise KeyboardInterrupt
        return feed(step)

    folder.mkdir(exist_ok=True)
    fit(method, batch_at, OPTIM, num_steps=steps, seed=0, device=CPU, state=folder, save_seconds=0.0)
    return state_of(method)


def same(one, two):
    return all(torch.equal(tensor, two[key]) for key, tensor in one.items())


def test_the_targets_are_propagations_probabilities():
    of = task()
    result = spreading().spread(of.targets, CPU.device)
    targets = spreading().targets(of.targets, CPU.device)
    p = tempered(result.mixture(spreading().x, slice(None)), result.temperature)
    np.testing.assert_allclose(targets(torch.arange(300)).numpy(), p, atol=1e-6)
    assert (targets(torch.arange(300)).argmax(dim=1) == digits()[1][:300]).float().mean() > 0.6
    rows = torch.tensor([7, 3, 7])
    assert torch.equal(targets(rows), targets(torch.arange(300))[rows])


def test_of_many_classes_the_highest_are_kept_and_of_images_without_a_path_to_a_label_nothing():
    """Two rings of images of which one has labels."""
    place = np.arange(100)
    rows = np.stack([(place + step) % 100 for step in (1, -1)], axis=1)
    rows = np.concatenate([rows, rows + 100]).astype(np.int32)
    x = unit(np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32))
    rings = Spreading(x, Neighbours(rows, np.ones((200, 2), np.float32)), PARAMS, None, np.array([], np.int64), [])
    of = Targets({"label": [str(i) for i in range(30)]}, torch.arange(90), torch.arange(90)[:, None] % 30)
    result, targets = rings.spread(of, CPU.device), rings.targets(of, CPU.device)
    p = tempered(result.mixture(x, slice(None)), result.temperature)
    found = targets(torch.arange(200)).numpy()
    for row, full in zip(found[:100], p[:100], strict=True):
        kept = np.sort(np.argsort(-full, kind="stable")[:TOP])
        assert set(np.flatnonzero(row)) <= set(kept)
        np.testing.assert_allclose(row[kept], full[kept] / full[kept].sum(), atol=1e-6)
    assert not found[100:].any()


def test_a_guess_is_the_mixture_that_its_docstring_says():
    targets = GraphTargets(3, 4, 4)
    targets.classes.copy_(torch.arange(4).expand(3, 4))
    targets.amounts.copy_(torch.tensor([[0.5, 0.5, 0, 0], [0, 0.25, 0, 0.75], [0, 0, 0, 0]]))
    own, share = torch.tensor([[0.1, 0.2, 0.3, 0.4]] * 3), 0.4
    found = targets.mixed(own, torch.arange(3), share)
    expected = [[0.26, 0.32, 0.18, 0.24], [0.06, 0.22, 0.18, 0.54], [0.1, 0.2, 0.3, 0.4]]
    torch.testing.assert_close(found, torch.tensor(expected))
    own = torch.tensor([[0.2, 0.8]] * 3)  # of classes 3 and 0
    found = targets.mixed(own, torch.arange(3), share, torch.tensor([3, 0]))
    torch.testing.assert_close(found, torch.tensor([[0.16, 0.84], [0.14 + 0.3, 0.56], [0.2, 0.8]]))


def test_methods_that_guess_say_so():
    assert [name for name in sorted(METHODS) if METHODS[name].guesses] == GUESSING


@guessing
def test_a_share_of_zero_is_the_own_guess_to_the_byte_and_any_other_is_not(name, tmp_path):
    own = after(name, told(targets="own"), tmp_path / "own")
    assert same(own, after(name, told(targets_share=0.0), tmp_path / "zero"))
    assert not same(own, after(name, told(targets_share=0.5), tmp_path / "half"))


@guessing
def test_at_the_first_step_a_share_of_one_is_the_graphs_target_alone_and_at_the_end_nothing(name, monkeypatch):
    of, guesses, plain = told(), [], EmaMethod.guess

    def spy(self, own, rows, level=0, classes=None):
        found = plain(self, own, rows, level, classes)
        guesses.append((own, rows, level, classes, found))
        return found

    monkeypatch.setattr(EmaMethod, "guess", spy)
    method, feed = semi(name, of)
    made, batch = method.base if name == "hiermatch" else method, feed(0)
    method.loss(batch)
    assert [level for _, _, level, _, _ in guesses] == ([0, 1] if name == "hiermatch" else [0])
    for own, rows, level, classes, found in guesses:
        target = of.graph(rows)
        target = target if classes is None else target[:, classes]
        rest = 1 - target.sum(dim=1, keepdim=True)
        torch.testing.assert_close(found, own if level else target + rest * own)
        assert set(rows.tolist()) == set(batch.rows.tolist())
    guesses.clear()
    made.progress = 1.0
    method.loss(batch)
    assert all(torch.equal(own, found) for own, _, _, _, found in guesses)


def test_the_graphs_target_comes_before_the_threshold():
    """A network that knows nothing is taught what the graph is sure of."""
    of = told()
    of.graph.amounts.copy_(torch.eye(10)[0])
    method, feed = semi("fixmatch", of, threshold=0.95)
    batch = feed(0)
    assert method.eval().loss(batch).logs["mask_rate"] == 1
    strong = method.net(batch.views[1])["label"]
    pseudo_label = of.graph.classes[batch.rows, 0]
    expected, _ = unlabelled_loss("fixmatch", threshold=0.95)(confident(pseudo_label), strong, batch.rows)
    torch.testing.assert_close(method.loss(batch).logs["unlabelled"], expected)


@pytest.mark.parametrize("name", ["fixmatch", "paws"])
def test_resumed_ends_in_the_same_bytes(name, tmp_path):
    whole = after(name, told(head="propagated"), tmp_path / "whole", steps=4)
    with suppress(KeyboardInterrupt):
        after(name, told(head="propagated"), tmp_path / "parts", steps=4, stop_at=2)
    assert same(whole, after(name, told(head="propagated"), tmp_path / "parts", steps=4))


def test_features_that_are_moved_or_scaled_have_the_same_probe():
    h, targets = logits(0, 80, 6), logits(1, 80, 4).softmax(dim=1)
    weight, bias = probe_layer(h, targets)
    moved, other = probe_layer(5 * h + 3, targets)
    torch.testing.assert_close(h @ weight.T + bias, (5 * h + 3) @ moved.T + other, atol=1e-3, rtol=1e-3)
    centred = h - h.mean(dim=0)
    plain, start = fit_targets(centred / centred.norm(dim=1).mean(), targets)
    logit = centred / centred.norm(dim=1).mean() @ plain.T + start
    torch.testing.assert_close(h @ weight.T + bias, logit, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", sorted({*METHODS} - {"gcd", "promptcal"}))  # which starts without any layer of classes
def test_the_finest_layer_starts_as_the_probe(name):
    of = told(head="propagated", targets="own")
    method, _ = semi(name, of)
    fresh, _ = semi(name, of)
    method.start(IMAGES)
    made, plain = (m.base if name == "hiermatch" else m for m in (method, fresh))
    plain.train()
    h = plain.net.backbone(PIXELS).detach()
    head = made.net.head
    h = h[:, head.starts[0] :] if isinstance(head, Levels) else h
    weight, bias = probe_layer(h, of.graph(torch.arange(300)))
    for net in (made.net, made.ema_net):
        found = net.head.layer(0) if isinstance(head, Levels) else net.head.layer
        torch.testing.assert_close([found.weight.detach(), found.bias.detach()], [weight, bias])
        same = zip(made.net.head.parameters(), plain.net.head.parameters(), strict=True)
        assert all(p.requires_grad == before.requires_grad for p, before in same)
    if name == "hiermatch":
        at_centroids, _ = semi(name, told(head="centroids", targets="own"))
        at_centroids.start(IMAGES)
        assert torch.equal(head.layer(1).weight, at_centroids.base.net.head.layer(1).weight)


PROPAGATED = ("train.targets=propagated", "train.head=propagated")
OWN = ("train.targets=own",)


@pytest.mark.parametrize("name", sorted(set(METHODS) - set(GUESSING) - {"distill"}))
def test_methods_without_a_guess_do_not_look_at_the_graph(name, run):
    shutil.rmtree(run / "graph")
    few = ("train.targets=propagated", "train.steps=2", "train.dynamic.base=.")
    result = call(train, f"train.method={name}", *few, out="data/out")
    assert result.exit_code == 0, result.output


def test_the_command_trains_on_them_and_its_digest_has_their_files(run, monkeypatch):
    read, plain = [], train_run.resumable

    def spy(*args, inputs, **kwargs):
        read.append({str(file) for file in inputs})
        return plain(*args, inputs=inputs, **kwargs)

    monkeypatch.setattr(train_run, "resumable", spy)
    models = []
    for place, sets in enumerate([PROPAGATED, PROPAGATED, PROPAGATED[:1], (*OWN, *PROPAGATED[1:]), OWN]):
        result = call(train, *sets, out=f"data/{place}")
        assert result.exit_code == 0, result.output
        models.append(sha256(run / str(place) / "model.safetensors"))
    assert models[0] == models[1]
    assert len({*models}) == 4
    files = {"data/embed/train/vectors.npy", "data/graph/rows.npy", "data/graph/sq_dist.npy"}
    assert [len(files & of_run) for of_run in read] == [3, 3, 3, 3, 0]
    shutil.rmtree(run / "graph")
    message = refusal(call(train, *PROPAGATED, out="data/out"))
    assert message.startswith("data/graph: expected what the stage graph writes, got: ")
