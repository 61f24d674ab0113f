"""LP-FT: the two phases, how fast the backbone moves in the second, and what it is at either end."""

import pytest
import torch

from pipeline.base.errors import ParamsError
from pipeline.fit import fit
from pipeline.train.methods.finetune import Finetune, FinetuneParams
from pipeline.train.methods.linear import Linear, LinearParams
from pipeline.train.pixels import Resident
from tests.digits import OPTIM, digits, task
from tests.train.family import CPU, settled


def made(head_share=0.5, backbone_scale=1.0, **changes):
    params = FinetuneParams(keep=0.9, head_share=head_share, backbone_scale=backbone_scale)
    method = Finetune(settled(), task(**changes).finest(), params)
    return method, method.feed(Resident(digits()[0][:300]))


def trained(method, feed, state, steps=10):
    """The curve, and a copy of the network after each step."""
    nets, after_step = [], method.after_step

    def watched(step, num_steps):
        after_step(step, num_steps)
        nets.append({name: tensor.clone() for name, tensor in method.net.state_dict().items()})

    method.after_step = watched
    return fit(method, feed, OPTIM, num_steps=steps, seed=0, device=CPU, state=state, save_seconds=1e9), nets


def moved(before, after):
    """Whether the backbone's weights, its statistics and the head differ."""
    names = {name for name in before if not torch.equal(before[name], after[name])}
    statistics = {name for name in names if "running" in name or "batches" in name}
    head = {name for name in names if name.startswith("head")}
    return bool(names - statistics - head), bool(statistics), bool(head)


def test_first_the_head_alone_then_everything_but_the_statistics(tmp_path):
    method, feed = made(head_share=0.4)
    first = {name: tensor.clone() for name, tensor in method.net.state_dict().items()}
    rows, nets = trained(method, feed, tmp_path)
    steps = [moved(before, after) for before, after in zip([first, *nets], nets, strict=False)]
    # The warm-up of the rate begins at 0, so that the first step moves nothing.
    assert steps == [(False, False, False)] + [(False, False, True)] * 3 + [(True, False, True)] * 6
    assert method.progress == 1
    assert len(rows) == 10


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_at_the_ends_it_is_one_phase(share, tmp_path):
    method, feed = made(head_share=share)
    first = {name: tensor.clone() for name, tensor in method.net.state_dict().items()}
    _, nets = trained(method, feed, tmp_path, steps=4)
    assert moved(first, nets[1])[0] == (share == 0)
    assert moved(first, nets[-1]) == (share == 0, False, True)


def test_with_the_head_alone_throughout_it_is_linear(tmp_path):
    (method, feed), linear = made(head_share=1.0), Linear(settled(), task().finest(), LinearParams(keep=0.9))
    linear.net.load_state_dict(method.net.state_dict())
    linear.slow.load_state_dict(method.slow.state_dict())
    for one, name in ((method, "a"), (linear, "b")):
        (tmp_path / name).mkdir()
        fit(one, feed, OPTIM, num_steps=5, seed=0, device=CPU, state=tmp_path / name, save_seconds=1e9)
    for name, tensor in linear.state_dict().items():
        assert torch.equal(method.state_dict()[name], tensor), name


def gradients(**changes):
    method, feed = made(**changes)
    method.train().loss(feed(0)).loss.backward()
    return [[p.grad for p in part.parameters()] for part in (method.net.backbone, method.net.head)]


def test_gradients_of_either_phase():
    (whole, head), (scaled, same) = gradients(head_share=0.0), gradients(head_share=0.0, backbone_scale=0.1)
    none, alone = gradients(head_share=0.5)
    assert none == [None] * len(whole)
    for one, tenth in zip(whole, scaled, strict=True):
        torch.testing.assert_close(tenth, 0.1 * one)
        assert one.abs().sum() > 0
    for one, other, third in zip(head, same, alone, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)


def test_loss_is_linears_whatever_the_phase_and_scale():
    linear = Linear(settled(), task().finest(), LinearParams(keep=0.9)).train()
    for changes in ({"head_share": 0.0, "backbone_scale": 0.1}, {"head_share": 1.0}):
        method, feed = made(**changes)
        linear.net.load_state_dict(method.net.state_dict())
        losses = [one.loss(feed(0)).loss for one in (method.train(), method, linear)]
        assert torch.equal(losses[0], losses[1])
        torch.testing.assert_close(losses[0], losses[2])


def test_the_phase_is_in_the_state_dict():
    (method, _), (other, feed) = made(), made()
    method.after_step(6, 10)
    other.load_state_dict(method.state_dict())
    other.loss(feed(0)).loss.backward()
    assert all(p.grad is not None for p in other.net.backbone.parameters())


def test_lars_would_undo_the_scale():
    lars = OPTIM.model_copy(update={"name": "lars", "nesterov": False})
    made(optim=lars)
    message = "^train.finetune.backbone_scale: expected 1 with lars, which divides by .* gradient, got 0.1$"
    with pytest.raises(ParamsError, match=message):
        made(optim=lars, backbone_scale=0.1)


@pytest.mark.parametrize("labels", [[[3]], [[3], [3], [3], [7]]])
def test_few_labels(labels, tmp_path):
    method, feed = made(backbone_scale=0.1, labels=labels, head="centroids")
    method.start(Resident(digits()[0][:300]))
    trained(method, feed, tmp_path, steps=4)
    assert all(tensor.isfinite().all() for tensor in method.state_dict().values())


def test_it_learns(tmp_path):
    rows, _ = trained(*made(backbone_scale=0.1), tmp_path, steps=40)
    assert sum(row["loss"] for row in rows[-5:]) < 0.8 * sum(row["loss"] for row in rows[:5])
