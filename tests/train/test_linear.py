"""Linear: nothing moves but the layer."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.fit import fit
from pipeline.train.methods.linear import Linear, LinearParams
from pipeline.train.pixels import Resident
from tests.digits import OPTIM, digits, task
from tests.train.family import CPU, settled


def made(**changes):
    method = Linear(settled(), task(**changes).finest(), LinearParams(keep=0.9))
    return method, method.feed(Resident(digits()[0][:300]))


def trained(tmp_path, steps=25, **changes):
    """The method after `steps` steps, its curve, and its network before them."""
    method, feed = made(**changes)
    before = {name: tensor.clone() for name, tensor in method.net.state_dict().items()}
    rows = fit(method, feed, OPTIM, num_steps=steps, seed=0, device=CPU, state=tmp_path, save_seconds=1e9)
    return method, rows, before


def test_only_the_layer_learns(tmp_path):
    method, rows, before = trained(tmp_path)
    for net in (method.net, method.slow):
        moved = [name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])]
        assert moved == ["head.layers.0.weight", "head.layers.0.bias"]
    assert sum(row["loss"] for row in rows[-5:]) < 0.9 * sum(row["loss"] for row in rows[:5])


def test_only_the_layer_is_in_the_optimiser_and_has_gradients():
    method, feed = made()
    method.loss(feed(0)).loss.backward()
    shapes = [tuple(p.shape) for group in OPTIM.optimiser(method).param_groups for p in group["params"]]
    assert shapes == [(10, 64), (10,)]
    assert all(p.grad is None for p in method.net.backbone.parameters())


def test_in_train_mode_the_backbone_is_in_eval_mode():
    method, _ = made()
    assert method.train().training
    assert method.net.training
    assert not any(module.training for module in method.net.backbone.modules())
    assert not method.eval().training


def test_loss_is_cross_entropy_of_the_layer_on_the_features_as_pretrained():
    method, feed = made()
    batch = feed(0)
    weight, bias = method.net.head.linear()
    logits = settled().eval()(batch.labelled) @ weight.T + bias
    torch.testing.assert_close(method.train().loss(batch).loss, F.cross_entropy(logits, batch.label[:, 0]))
    assert torch.equal(method.loss(batch).loss, method.loss(batch).loss)


@pytest.mark.parametrize("labels", [[[3]], [[3], [3], [3], [7]]])
@pytest.mark.parametrize("head", ["centroids", "random"])
def test_few_labels(labels, head, tmp_path):
    method, feed = made(labels=labels, head=head, sampling="classes")
    method.start(Resident(digits()[0][:300]))
    layer = method.net.head.layer(0).weight.detach().clone()
    assert ((layer == 0).all(dim=1).sum() == 10 - len({c for (c,) in labels})) == (head == "centroids")
    fit(method, feed, OPTIM, num_steps=3, seed=0, device=CPU, state=tmp_path, save_seconds=1e9)
    assert torch.equal(method.eval().slow.backbone(feed(0).labelled), settled().eval()(feed(0).labelled))
    assert not torch.equal(method.slow.head.layer(0).weight, layer)
