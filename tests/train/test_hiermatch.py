"""HierMatch against a loop over the levels, and the wall between coarse labels and fine features."""

import pytest
import torch
from torch.distributions import Beta

from pipeline.fit import fit
from pipeline.nn.classifier import Classifier
from pipeline.nn.device import Device
from pipeline.train.methods.fixmatch import FixMatchParams
from pipeline.train.methods.hiermatch import BASES, HierMatch, HierMatchParams
from pipeline.train.methods.mixmatch import MixMatchParams, mixed
from pipeline.train.pixels import Resident
from tests.digits import OPTIM, backbone, digits, task
from tests.oracles import hiermatch as oracle

CPU = Device(torch.device("cpu"), bf16=False)
FIXMATCH = FixMatchParams(ratio=2, threshold=0.12, weight=1.0, align="none", align_keep=0.9, keep=0.9)
MIXMATCH = MixMatchParams(
    ratio=2, views=2, sharpen=0.5, alpha=0.75, weight=3.0, ramp=0.0, align="none", align_keep=0.9, keep=0.9
)
CLASSES = digits()[1][:20].tolist()
# Of every four images one is labelled at both levels, one coarsely, one finely alone, one at both.
PARTLY = [[c if i % 4 != 1 else -1, c % 2 if i % 4 != 2 else -1] for i, c in enumerate(CLASSES)]
COARSE = [[-1, c % 2] for c in CLASSES]
THREE = [[c if i % 3 == 0 else -1, c % 2 if i % 3 < 2 else -1, 0] for i, c in enumerate(CLASSES)]
both = pytest.mark.parametrize("base", sorted(BASES))


def learner(base, of=None, **changes):
    """HierMatch and its batches; `changes` are of the base's params."""
    blocks = {"fixmatch": FIXMATCH, "mixmatch": MIXMATCH}
    blocks[base] = blocks[base].model_copy(update=changes)
    method = HierMatch(backbone(), of or task(), HierMatchParams(base=base, **blocks))
    return method, method.feed(Resident(digits()[0][:300]))


def loss(method, batch):
    torch.manual_seed(0)
    return method.loss(batch)


def logits(method, images):
    """Of each level, finest first, as lists."""
    with torch.no_grad():
        return [found.tolist() for found in method.base.net(images).values()]


@both
def test_with_one_level_it_is_the_base(base, caplog):
    of = task().finest()
    with caplog.at_level("INFO"):
        method, feed = learner(base, of)
    assert caplog.messages == [f"labels are of a single level: hiermatch is {base}"]
    plain = BASES[base](backbone(), of, {"fixmatch": FIXMATCH, "mixmatch": MIXMATCH}[base])
    plain.load_state_dict(method.base.state_dict())
    for step in range(3):
        batch = plain.feed(Resident(digits()[0][:300]))(step)
        assert torch.equal(batch.labelled, feed(step).labelled)
        ours, theirs = loss(method, feed(step)), loss(plain, batch)
        assert torch.equal(ours.loss, theirs.loss)
        assert ours.logs == theirs.logs
        method.after_step(step + 1, 10)
        plain.after_step(step + 1, 10)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, method.state_dict()[f"base.{name}"]), name


@both
def test_with_several_levels_it_says_nothing(base, caplog):
    with caplog.at_level("INFO"):
        learner(base)
    assert not caplog.messages


@pytest.mark.parametrize("labels", [None, PARTLY, COARSE, THREE])
def test_fixmatch_at_each_level(labels):
    method, feed = learner("fixmatch", task(labels=labels), weight=0.7)
    method.eval()
    batch = feed(0)
    known, weak, strong = (logits(method, images) for images in (batch.labelled, *batch.views))
    expected = oracle.fixmatch(known, weak, strong, batch.label.T.tolist(), 0.12, 0.7)
    assert method.loss(batch).loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("labels", [None, PARTLY, COARSE, THREE])
def test_mixmatch_at_each_level(labels):
    method, feed = learner("mixmatch", task(labels=labels))
    method.eval()
    batch = feed(0)
    found = loss(method, batch).loss.item()
    images = torch.cat([batch.labelled, *batch.views])
    torch.manual_seed(0)
    order, draws = torch.randperm(len(images)), Beta(0.75, 0.75).sample((len(images),))
    views = list(zip(*[logits(method, view) for view in batch.views], strict=True))
    expected = oracle.mixmatch(
        logits(method, mixed(images, images[order], torch.maximum(draws, 1 - draws))),
        logits(method, batch.labelled),
        views,
        batch.label.T.tolist(),
        order.tolist(),
        draws.tolist(),
        0.5,
        3.0,
    )
    assert found == pytest.approx(expected, rel=1e-4)


@both
@pytest.mark.parametrize(
    ("labels", "level"),
    [
        (COARSE, 1),
        ([[c, -1] for c in CLASSES], 0),
        ([[-1, c % 2, -1] for c in CLASSES], 1),
        ([[c, -1, -1] for c in CLASSES], 0),
    ],
)
def test_labels_of_one_level_move_its_slice_of_the_features_alone(base, labels, level):
    """All are labelled at that level alone, and the unlabelled loss weighs nothing."""
    method, feed = learner(base, task(labels=labels), weight=0.0)
    features = []

    def keep(_module, _inputs, out):
        if out.requires_grad:
            out.retain_grad()
            features.append(out)

    method.base.net.backbone.register_forward_hook(keep)
    loss(method, feed(0)).loss.backward()
    (h,) = features
    head = method.base.net.head
    own = slice(head.starts[level], head.ends[level])
    assert h.grad[:, own].abs().sum() > 0
    h.grad[:, own] = 0
    assert (h.grad == 0).all()
    # The detached slices still serve the layer.
    assert head.layer(level).weight.grad.abs().sum(dim=0).min() > 0


@both
def test_an_image_labelled_coarsely_has_no_fine_label(base):
    """Fine classes may be numbered in any order: were -1 taken for a class, the loss would tell."""
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    renamed = [[order[c].item() if c >= 0 else -1, coarse] for c, coarse in PARTLY]
    method, feed = learner(base, task(labels=PARTLY))
    other, other_feed = learner(base, task(labels=renamed))
    other.load_state_dict(method.state_dict())
    with torch.no_grad():
        ours, theirs = (m.base.net.head.layer(0) for m in (method, other))
        theirs.weight[order] = ours.weight
        theirs.bias[order] = ours.bias
    assert (feed(0).label[:, 0] < 0).any()
    torch.testing.assert_close(loss(method.eval(), feed(0)).loss, loss(other.eval(), other_feed(0)).loss)


@both
@pytest.mark.parametrize(
    "labels",
    [
        [[3, 1], [-1, 0], [-1, 1], [-1, 0]],  # one image has a fine label
        [[3, -1], [4, 0], [5, -1], [-1, -1]],  # one has a coarse one, one none at all
        [[3, 1], [3, 1]],  # one class a level
        THREE[:4],
    ],
)
@pytest.mark.parametrize("align", ["none", "labels"])
@pytest.mark.parametrize("sampling", ["images", "classes"])
def test_few_labels_do(base, labels, align, sampling):
    method, feed = learner(base, task(labels=labels, sampling=sampling, head="centroids"), align=align)
    method.start(Resident(digits()[0][:300]))
    for step in range(2):
        out = loss(method, feed(step))
        out.loss.backward()
        method.after_step(step + 1, 10)
    assert out.loss.isfinite()
    assert all(p.grad.isfinite().all() for p in method.base.net.parameters())
    assert all(buffer.isfinite().all() for buffer in method.buffers())


@both
def test_the_start_is_at_the_centroids_of_each_level(base):
    method, _ = learner(base, task(head="centroids"))
    method.start(Resident(digits()[0][:300]))
    said = method.result(Resident(digits()[0])).train()(digits()[0][:300])  # in train mode, as guesses are made
    fine, coarse = (found[:20].argmax(dim=1) for found in said.values())
    assert (fine == digits()[1][:20]).float().mean() > 0.8
    assert (coarse == digits()[1][:20] % 2).float().mean() > 0.6


@both
def test_the_model_that_is_written_says_the_same_at_each_level(base, tmp_path):
    method, feed = learner(base, task(labels=THREE))
    loss(method, feed(0)).loss.backward()
    method.after_step(1, 10)
    model = method.result(Resident(digits()[0][:300]))
    model.write(tmp_path, {})
    read = Classifier.read(tmp_path).probabilities(digits()[0][:9], 4)
    written = model.probabilities(digits()[0][:9], 4)
    assert {name: tuple(p.shape) for name, p in written.items()} == {
        "label": (9, 10),
        "coarse": (9, 2),
        "coarse2": (9, 1),
    }
    for name, p in written.items():
        torch.testing.assert_close(read[name], p)


@both
def test_resumed_ends_in_the_same_bytes(base, tmp_path):
    def run(state, stop_at=None, save_seconds=0.0):
        state.mkdir(exist_ok=True)
        method, feed = learner(base, task(labels=PARTLY), align="labels")

        def batch_at(step):
            if step == stop_at:
                raise KeyboardInterrupt
            return feed(step)

        try:
            fit(method, batch_at, OPTIM, num_steps=5, seed=0, device=CPU, state=state, save_seconds=save_seconds)
        except KeyboardInterrupt:
            return None
        return method.state_dict()

    whole = run(tmp_path / "whole", save_seconds=1e9)
    assert run(tmp_path / "parts", stop_at=3) is None
    parts = run(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


@both
def test_training_lowers_the_loss_of_each_level(base, tmp_path):
    method, feed = learner(base, task(labels=PARTLY), weight=0.5)
    rows = fit(method, feed, OPTIM, num_steps=30, seed=0, device=CPU, state=tmp_path, save_seconds=1e9)
    assert sum(row["labelled"] for row in rows[-5:]) < 0.8 * sum(row["labelled"] for row in rows[:5])
