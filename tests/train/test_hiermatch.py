"""HierMatch against a loop over the levels, and the wall between coarse labels and fine features."""

import pytest
import torch
from torch.distributions import Beta

from pipeline.train.methods import METHODS
from pipeline.train.mixing import mixed
from tests.digits import backbone, digits, semi, task
from tests.oracles import hiermatch as oracle
from tests.train.helpers import IMAGES, changed, loss, state_of, trained
from tests.train.test_methods import PARTLY

CLASSES = digits()[1][:20].tolist()
COARSE = [[-1, c % 2] for c in CLASSES]
THREE = [[c if i % 3 == 0 else -1, c % 2 if i % 3 < 2 else -1, 0] for i, c in enumerate(CLASSES)]
BASES = {"fixmatch": {}, "mixmatch": {"ramp": 0.0}}
both = pytest.mark.parametrize("base", BASES)


def learner(base, of=None, **changes):
    """HierMatch and its batches; `changes` are of the base's params."""
    return semi("hiermatch", of, base=base, **{**BASES[base], **changes})


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
    plain, plain_feed = semi(base, of, **BASES[base])
    plain.load_state_dict(method.base.state_dict())
    for step in range(3):
        ours, theirs = loss(method, feed(step)), loss(plain, plain_feed(step))
        assert torch.equal(ours.loss, theirs.loss)
        assert ours.logs == theirs.logs
        method.after_step(step + 1, 10)
        plain.after_step(step + 1, 10)
    assert changed(plain, state_of(method.base)) == set()
    caplog.clear()
    with caplog.at_level("INFO"):
        learner(base)
    assert not caplog.messages


@pytest.mark.parametrize("labels", [None, PARTLY, COARSE, THREE])
def test_fixmatch_at_each_level(labels):
    method, feed = learner("fixmatch", task(labels=labels), weight=0.7)
    method.eval()
    batch = feed(0)
    labelled, weak, strong = (logits(method, images) for images in (batch.labelled, *batch.views))
    expected = oracle.fixmatch(labelled, weak, strong, batch.label.T.tolist(), 0.12, 0.7)
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
    mix = logits(method, mixed(images, images[order], torch.maximum(draws, 1 - draws)))
    own, labels = logits(method, batch.labelled), batch.label.T.tolist()
    expected = oracle.mixmatch(mix, own, views, labels, order.tolist(), draws.tolist(), 0.5, 3.0)
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
    renumbered = [[order[c].item() if c >= 0 else -1, coarse] for c, coarse in PARTLY]
    method, feed = learner(base, task(labels=PARTLY))
    other, other_feed = learner(base, task(labels=renumbered))
    other.load_state_dict(method.state_dict())
    with torch.no_grad():
        ours, theirs = (m.base.net.head.layer(0) for m in (method, other))
        theirs.weight[order] = ours.weight
        theirs.bias[order] = ours.bias
    assert (feed(0).label[:, 0] < 0).any()
    torch.testing.assert_close(loss(method.eval(), feed(0)).loss, loss(other.eval(), other_feed(0)).loss)


@both
def test_training_with_partial_labels_lowers_the_labelled_loss(base, tmp_path):
    method, feed = learner(base, task(labels=PARTLY), weight=0.5)
    rows = trained(method, feed, tmp_path, 30)
    assert sum(row["labelled"] for row in rows[-5:]) < 0.8 * sum(row["labelled"] for row in rows[:5])


@both
def test_the_start_is_at_the_centroids_of_each_level(base):
    method, _ = learner(base, task(head="centroids"))
    method.start(IMAGES)
    predictions = method.result(IMAGES).train()(digits()[0][:300])  # in train mode, as pseudo-labels are made
    fine, coarse = (found[:20].argmax(dim=1) for found in predictions.values())
    assert (fine == digits()[1][:20]).float().mean() > 0.8
    assert (coarse == digits()[1][:20] % 2).float().mean() > 0.6


def test_its_base_is_a_method_of_several_levels():
    """Every base that `train.hiermatch.base` may name takes a task of every level."""
    names = METHODS["hiermatch"].Params.model_fields["base"].annotation.__args__
    assert set(names) == set(BASES)
    for name in names:
        assert list(METHODS[name](backbone(), task(), semi(name)[0].params).net.head.names) == ["label", "coarse"]
