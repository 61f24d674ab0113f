"""Linear and LP-FT: what moves, when, and how fast."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.base.errors import ParamsError
from pipeline.train.methods.finetune import Finetune, FinetuneParams
from pipeline.train.methods.linear import Linear, LinearParams
from tests.digits import task
from tests.method_values import OPTIM
from tests.train.helpers import IMAGES, changed, pretrained, state_of, trained


def linear(**common):
    method = Linear(pretrained(), task(**common).finest(), LinearParams())
    return method, method.feed(IMAGES)


def finetune(head_share=0.5, backbone_scale=1.0, **common):
    params = FinetuneParams(head_share=head_share, backbone_scale=backbone_scale, head_layer=0)
    method = Finetune(pretrained(), task(**common).finest(), params)
    return method, method.feed(IMAGES)


def test_of_linear_only_the_layer_learns(tmp_path):
    method, feed = linear()
    before = state_of(method.net)
    trained(method, feed, tmp_path, 5)
    for net in (method.net, method.ema_net):
        assert {name for name in net.state_dict() if not torch.equal(net.state_dict()[name], before[name])} == {
            "head.layers.0.weight",
            "head.layers.0.bias",
        }
    shapes = [tuple(p.shape) for group in OPTIM.optimiser(method).param_groups for p in group["params"]]
    assert shapes == [(10, 64), (10,)]


def test_in_train_mode_the_backbone_is_in_eval_mode():
    method, _ = linear()
    assert method.train().training
    assert method.net.training
    assert not any(module.training for module in method.net.backbone.modules())
    assert not method.eval().training


def test_linears_loss_is_cross_entropy_of_the_layer_on_the_features_as_pretrained():
    method, feed = linear()
    batch = feed(0)
    weight, bias = method.net.head.linear()
    logits = pretrained().eval()(batch.labelled) @ weight.T + bias
    torch.testing.assert_close(method.train().loss(batch).loss, F.cross_entropy(logits, batch.label[:, 0]))


@pytest.mark.parametrize(("share", "first"), [(0.0, 0), (0.4, 4), (1.0, 10)])
def test_first_the_head_alone_learns_then_everything_but_the_statistics(share, first, tmp_path):
    method, feed = finetune(head_share=share)
    states, after_step = [state_of(method.net)], method.after_step

    def noted(step, num_steps):
        after_step(step, num_steps)
        states.append(state_of(method.net))

    method.after_step = noted
    trained(method, feed, tmp_path, 10)
    for step in range(1, 10):  # the warm-up of the rate begins at 0, so that the first step moves nothing
        moved = {name for name in states[0] if not torch.equal(states[step][name], states[step + 1][name])}
        assert not any("running" in name or "batches" in name for name in moved)
        assert any(name.startswith("head") for name in moved)
        assert any(name.startswith("backbone") for name in moved) == (step >= first)


def test_finetune_with_the_head_alone_throughout_is_linear(tmp_path):
    (method, feed), (other, _) = finetune(head_share=1.0), linear()
    other.load_state_dict(method.state_dict())
    for one, name in ((method, "a"), (other, "b")):
        trained(one, feed, tmp_path / name, 5)
    assert changed(other, state_of(method)) == set()


def gradients(**options):
    method, feed = finetune(**options)
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


def test_the_backbone_moves_after_its_share_of_the_steps():
    method, feed = finetune()
    method.progress = 0.6
    method.loss(feed(0)).loss.backward()
    assert all(p.grad is not None for p in method.net.backbone.parameters())


def test_lars_would_undo_the_scale():
    lars = OPTIM.model_copy(update={"name": "lars", "nesterov": False})
    finetune(optim=lars)
    message = "^train.finetune.backbone_scale: expected 1 with lars, which divides by .* gradient, got 0.1$"
    with pytest.raises(ParamsError, match=message):
        finetune(optim=lars, backbone_scale=0.1)


@pytest.mark.parametrize("make", [linear, finetune])
def test_a_backbone_from_scratch_is_refused(make):
    with pytest.raises(ParamsError, match=r"^train.start: expected pretrained for .*, whose batch norm stays"):
        make(start="scratch")
