"""Heads of a classifier: what each level sees and what it passes back; written and read again."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.base.errors import ArtifactError, ParamsError
from pipeline.nn.classifier import HEADS, Classifier
from pipeline.nn.heads import LINEAR, Levels, Nearest, soft_nearest
from pipeline.nn.neighbour_vote import NeighbourVote
from tests.digits import backbone, digits

NAMES = {"label": ["a", "b", "c"], "coarse": ["d", "e"], "coarse2": ["f"]}
OPTIONS = {"hidden_dim": 6, "out_dim": 4, "temperature": 0.1, "num_supports": 5}


def first(count):
    return dict(list(NAMES.items())[:count])


def features(dim, rows=7):
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(0))


def filled(head):
    """The nearest head with supports of two classes, as training leaves it."""
    torch.manual_seed(0)
    head.supports.copy_(F.normalize(torch.randn(head.supports.shape), dim=1))
    head.answers.copy_(F.one_hot(torch.tensor([0, 1, 0, 1, 1]), 3))
    return head


@pytest.mark.parametrize(
    ("dim", "levels", "starts", "ends"),
    [
        (8, 1, [0], [8]),
        (8, 2, [4, 0], [8, 4]),
        (9, 2, [4, 0], [9, 4]),  # the finest takes what is over
        (9, 3, [6, 3, 0], [9, 6, 3]),
        (11, 3, [6, 3, 0], [11, 6, 3]),
        (3, 3, [2, 1, 0], [3, 2, 1]),
    ],
)
def test_features_are_cut_into_a_slice_for_each_level(dim, levels, starts, ends):
    head = Levels(dim, first(levels))
    assert (head.starts, head.ends) == (starts, ends)
    assert {name: tuple(out.shape) for name, out in head(features(dim)).items()} == {
        name: (7, len(classes)) for name, classes in first(levels).items()
    }
    assert [head.layer(i).in_features for i in range(levels)] == [dim - start for start in starts]


def test_a_level_sees_its_own_slice_and_finer_ones():
    """A change of feature j reaches the levels whose slice or finer slices hold it."""
    head, h = Levels(9, NAMES), features(9)
    before = head(h)
    for j, reached in [(0, ["coarse2"]), (3, ["coarse", "coarse2"]), (8, ["label", "coarse", "coarse2"])]:
        changed = h.clone()
        changed[:, j] += 1
        after = head(changed)
        assert [name for name in after if not torch.equal(after[name], before[name])] == reached


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_level_passes_its_gradient_to_its_own_slice_alone(level):
    head, h = Levels(11, NAMES), features(11).requires_grad_()
    list(head(h).values())[level].square().sum().backward()
    moved = h.grad.abs().sum(dim=0) > 0
    assert moved.nonzero().flatten().tolist() == list(range(head.starts[level], head.ends[level]))
    assert head.layer(level).weight.grad.abs().sum(dim=0).min() > 0


def test_with_one_level_it_is_a_linear_classifier():
    head, h = Levels(8, first(1)), features(8)
    assert torch.equal(head(h)["label"], F.linear(h, head.layer(0).weight, head.layer(0).bias))
    assert torch.equal(head.layer(0).bias, torch.zeros(3))


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
def test_the_linear_layer_names_the_finest_classes_from_all_features(levels):
    """Of both heads: 0 levels stands for the nearest one."""
    h = features(11)
    head = Levels(11, first(levels)) if levels else Nearest(11, first(1), **OPTIONS)
    layer = head.layer(0) if levels else head.layer
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    weight, bias = head.linear()
    assert weight.shape == (3, 11)
    torch.testing.assert_close(h @ weight.T + bias, head(h)["label" if levels else LINEAR])


def test_fewer_features_than_levels_are_refused():
    message = "^train: expected a backbone of at least 3 features, one a level, got 2$"
    with pytest.raises(ParamsError, match=message):
        Levels(2, NAMES)


def test_the_nearest_supports_answer():
    supports = torch.eye(3)[:, :2][:2]
    answers = torch.tensor([[1.0, 0.0], [0.2, 0.8]])
    p = soft_nearest(torch.tensor([[5.0, 0.0], [1.0, 1.0]]), supports, answers, 0.1)
    near = torch.tensor([1.0, 0.0]).div(0.1).softmax(dim=0)
    torch.testing.assert_close(p[0], near @ answers)
    torch.testing.assert_close(p[1], torch.tensor([0.6, 0.4]))


def test_nearest_passes_no_gradient_from_its_linear_layer():
    head, h = filled(Nearest(8, first(1), **OPTIONS)), features(8).requires_grad_()
    out = head(h)
    assert torch.autograd.grad(out[LINEAR].sum(), h, allow_unused=True, retain_graph=True) == (None,)
    (grad,) = torch.autograd.grad(out["label"].square().sum(), h)
    assert grad.abs().sum() > 0


@pytest.mark.parametrize("kind", HEADS)
def test_a_classifier_reads_what_it_wrote(kind, tmp_path):
    body = backbone()
    if kind == "levels":
        head = Levels(body.dim, NAMES)
    elif kind == "nearest":
        head = filled(Nearest(body.dim, {**first(1), LINEAR: NAMES["label"]}, **OPTIONS))
    else:
        names = {**first(1), LINEAR: NAMES["label"]}
        head = NeighbourVote(body.dim, names, num_images=20, top=2, neighbours=3)
        head.vectors.copy_(F.normalize(torch.randn(20, body.dim), dim=1))
        head.classes.copy_(torch.stack([torch.arange(20) % 3, (torch.arange(20) + 1) % 3], dim=1))
        head.amounts.copy_(torch.rand(20, 2))
        head.share.fill_(0.7)
    model = Classifier(body, head, (8, 8))
    model(digits()[0][:50])  # so that running statistics are not those of the start
    model.write(tmp_path, {"method": "any"})
    read = Classifier.read(tmp_path)
    assert (read.size, read.channels, read.classes, read.head.names) == ((8, 8), 1, NAMES["label"], head.names)
    assert type(read.head) is type(head)
    assert read.head.options == head.options
    expected, found = (net.probabilities(digits()[0][:11], 4) for net in (model, read))
    assert list(found) == list(head.names)
    for name, p in expected.items():
        torch.testing.assert_close(found[name], p)
        torch.testing.assert_close(p.sum(dim=1), torch.ones(11))
        assert read.probabilities(digits()[0][:0], 4)[name].shape == (0, len(head.names[name]))


def test_a_head_of_another_kind_is_refused(tmp_path):
    body = backbone()
    Classifier(body, Levels(body.dim, NAMES), (8, 8)).write(tmp_path, {})
    file = tmp_path / "model.json"
    file.write_text(file.read_text().replace('"levels"', '"other"'))
    with pytest.raises(ArtifactError, match=r"expected a model written by train, got: KeyError\('other'\)$"):
        Classifier.read(tmp_path)
