"""What batch norm sees of labelled and unlabelled images, pass by pass."""

import pytest
import torch

from pipeline.nn.classifier import Classifier
from pipeline.nn.heads import Levels
from pipeline.train.passes import forward_parts
from tests.digits import backbone, digits
from tests.train.helpers import HOWS

NAMES = {"label": [str(i) for i in range(10)], "coarse": ["even", "odd"]}
PARTS = [part.float() / 255 for part in digits()[0][:40].split([8, 16, 16])]
NONE = PARTS[0][:0]


def net_and_passes():
    """A classifier with two readouts, and a list that tells the images of each of its passes."""
    torch.manual_seed(0)
    net = Classifier(backbone(), Levels(64, NAMES), (8, 8))
    passes = []
    net.register_forward_pre_hook(lambda _, inputs: passes.append(inputs[0].clone()))
    return net, passes


def running(net):
    return torch.cat([b.flatten() for name, b in net.named_buffers() if "running" in name])


@pytest.mark.parametrize("how", HOWS)
def test_in_eval_mode_each_part_has_its_own_logits_in_every_readout(how):
    net, _ = net_and_passes()
    found = forward_parts(net.eval(), PARTS, how)
    assert len(found) == 3
    for logits, part in zip(found, PARTS, strict=True):
        assert list(logits) == ["label", "coarse"]
        for name, expected in net(part).items():
            torch.testing.assert_close(logits[name], expected)


def test_joint_is_one_pass():
    net, passes = net_and_passes()
    found = forward_parts(net, PARTS, "joint")
    assert len(passes) == 1
    assert torch.equal(passes[0], torch.cat(PARTS))
    other, _ = net_and_passes()
    whole = other(torch.cat(PARTS))["coarse"]
    assert torch.equal(torch.cat([logits["coarse"] for logits in found]), whole)


def test_split_is_a_pass_for_each_part_and_the_first_view_moves_the_statistics():
    net, passes = net_and_passes()
    found = forward_parts(net, PARTS, "split")
    assert [len(images) for images in passes] == [8, 16, 16]
    for logits, part in zip(found, PARTS, strict=True):
        assert torch.equal(logits["label"], net_and_passes()[0](part)["label"])
    alone, _ = net_and_passes()
    alone(PARTS[1])
    assert torch.equal(running(net), running(alone))


@pytest.mark.parametrize(("parts", "counts", "moves"), [(PARTS, 2, 2), (PARTS[:1], 1, 0), ([PARTS[0], NONE], 1, 0)])
def test_of_a_split_one_part_moves_the_statistics(parts, counts, moves):
    net, _ = net_and_passes()
    forward_parts(net, parts, "split", counts)
    alone, _ = net_and_passes()
    alone(parts[moves])
    assert torch.equal(running(net), running(alone))
    assert {m.momentum for m in net.modules() if hasattr(m, "momentum")} == {0.1}


@pytest.mark.parametrize("sizes", [[8, 16, 16], [5, 15, 15], [4, 7, 7], [1, 7], [6, 6]])
def test_interleaved_passes_are_as_large_as_the_labelled_part_and_have_their_share_of_each(sizes):
    net, passes = net_and_passes()
    values = torch.arange(sum(sizes)).float()
    tagged = (values / 256)[:, None, None, None].expand(-1, 1, 8, 8)
    parts = list(tagged.split(sizes))
    forward_parts(net, parts, "interleaved")
    tags = [(images[:, 0, 0, 0] * 256).round().long() for images in passes]
    assert torch.cat(tags).sort().values.tolist() == list(range(sum(sizes)))
    assert len(tags) == sum(sizes) // max(sizes[0], 2)
    ends = torch.tensor(sizes).cumsum(0)
    for i, end in enumerate(ends.tolist()):
        shares = [((tag < end) & (tag >= end - sizes[i])).sum().item() for tag in tags]
        assert max(shares) - min(shares) <= 1
        assert sum(shares) == sizes[i]
    assert max(map(len, tags)) - min(map(len, tags)) <= 1


def test_interleaved_logits_are_those_of_the_groups():
    net, passes = net_and_passes()
    found = torch.cat([logits["label"] for logits in forward_parts(net, PARTS, "interleaved")])
    other, _ = net_and_passes()
    for group, images in enumerate(passes):
        assert torch.equal(found[group :: len(passes)], other(images)["label"])
    assert torch.equal(running(net), running(other))


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("empty", [0, 1, 2])
def test_an_empty_part_gives_empty_logits_and_changes_no_other(how, empty):
    parts = [NONE if i == empty else part for i, part in enumerate(PARTS)]
    net, _ = net_and_passes()
    found = forward_parts(net, parts, how)
    rest = forward_parts(net_and_passes()[0], [part for part in parts if len(part)], how)
    assert found[empty]["label"].shape == (0, 10)
    assert found[empty]["coarse"].shape == (0, 2)
    if how != "interleaved" or empty:  # whose passes are as large as the first part
        for logits, expected in zip([found[i] for i in range(3) if i != empty], rest, strict=True):
            assert torch.equal(logits["label"], expected["label"])


@pytest.mark.parametrize("how", HOWS)
def test_gradients_reach_every_part(how):
    net, _ = net_and_passes()
    parts = [part.clone().requires_grad_() for part in PARTS]
    sum(logits["label"].square().sum() for logits in forward_parts(net, parts, how)).backward()
    assert all(part.grad.abs().sum() > 0 for part in parts)


@pytest.mark.parametrize("how", HOWS)
def test_logits_are_float32_under_autocast_and_float64_stays(how):
    net, _ = net_and_passes()
    with torch.autocast("cpu", torch.bfloat16):
        assert {v.dtype for logits in forward_parts(net, PARTS, how) for v in logits.values()} == {torch.float32}
    exact = forward_parts(net.double(), [part.double() for part in PARTS], how)
    assert {v.dtype for logits in exact for v in logits.values()} == {torch.float64}
