"""ProxyNCA++ against its formula, and how fast its proxies are."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.nn.heads import cosine_logits
from pipeline.nn.mlp import built, described
from tests.digits import semi
from tests.method_values import OPTIM
from tests.oracles import proxynca as oracle


def rows(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_cosine_softmax_is_the_softmax_of_squared_distances(scale):
    x, proxies, label = rows(6, 5, seed=0), rows(4, 5, seed=1), torch.tensor([0, 3, 1, 1, 2, 0])

    def loss(x, proxies):
        return F.cross_entropy(cosine_logits(x, proxies, 1 / (2 * scale**2)), label)

    expected = oracle.loss(x.tolist(), proxies.tolist(), label.tolist(), scale)
    assert loss(x, proxies).item() == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.gradcheck(loss, (x.requires_grad_(), proxies.requires_grad_()))


def test_the_methods_loss_is_the_papers_on_normed_features():
    method, feed = semi("proxynca")
    batch, head = feed(0), method.eval().net.head
    with torch.no_grad():
        h = method.net.backbone(batch.labelled)
        x = torch.tensor([oracle.layer_norm(row) for row in h.tolist()]) @ head.projector[1].weight.T
        x += head.projector[1].bias
    expected = oracle.loss(x.tolist(), head.vectors.weight.tolist(), batch.label[:, 0].tolist(), 3.0)
    step = method.loss(batch)
    assert step.logs["labelled"].item() == pytest.approx(expected, rel=1e-5)
    linear = F.cross_entropy(head.layer(h), batch.label[:, 0])
    assert step.loss.item() == pytest.approx(expected + linear.item(), rel=1e-5)
    torch.testing.assert_close(method.net(batch.labelled)["label"], cosine_logits(x, head.vectors.weight, 1 / 18))


def test_the_proxies_have_a_multiple_of_the_rate():
    method, _ = semi("proxynca", proxy_rate=50.0)
    groups = OPTIM.optimiser(method).param_groups
    fast = [p for group in groups if group["scale"] == 50 for p in group["params"]]
    assert [p is method.net.head.vectors.weight for p in fast] == [True]
    assert {group["scale"] for group in groups} == {1.0, 50.0}


def test_the_linear_layer_moves_nothing_else():
    method, feed = semi("proxynca")
    reached = torch.autograd.grad(method.loss(feed(0)).logs["linear"], [*method.net.parameters()], allow_unused=True)
    moved = {name for (name, _), grad in zip(method.net.named_parameters(), reached, strict=True) if grad is not None}
    assert moved == {"head.layer.weight", "head.layer.bias"}


def test_its_projector_is_described_and_built_again():
    head = semi("proxynca")[0].net.head
    assert head.options["layers"] == [{"layer_norm": 64}, {"linear": [64, 8], "bias": True}]
    again = built(described(head.projector))
    again.load_state_dict(head.projector.state_dict())
    h = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(h), head.projector(h))
