"""SimSiam against its equation, lightly's loss, its fixed points, and its stopped gradient."""

import pytest
import torch
from pydantic import ValidationError

from pipeline.base.torchvision_import import torchvision
from pipeline.fit import fit
from pipeline.nn.device import Device
from pipeline.nn.primitives import spread
from pipeline.pretrain.feed import Feed
from pipeline.pretrain.methods.byol import byol_loss
from pipeline.pretrain.methods.simsiam import Simsiam, SimsiamParams, simsiam_loss
from tests.digits import CONTRASTIVE, OPTIM, backbone, digits
from tests.oracles import byol as oracle

PARAMS = {"dim": 8, "hidden_dim": 16, "projector_layers": 3, "predictor_dim": 4}


def some(seed, n=5, d=4):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def learner(**changed):
    method = Simsiam(backbone(), SimsiamParams(**{**PARAMS, **changed}), 300, torch.Generator().manual_seed(0))
    return method, Feed(digits()[0][:300], (CONTRASTIVE, CONTRASTIVE), None, 8, seed=0)


def test_loss_is_the_papers_plus_one():
    p1, p2, z1, z2 = (some(seed) for seed in range(4))
    expected = 1 + oracle.simsiam(*(x.tolist() for x in (p1, p2, z1, z2)))
    assert simsiam_loss(p1, p2, z1, z2).item() == pytest.approx(expected, rel=1e-5)


def test_loss_and_gradient_are_lightlys():
    pytest.importorskip("lightly")
    torchvision()
    from lightly.loss import NegativeCosineSimilarity

    cosine = NegativeCosineSimilarity()
    p1, p2, z1, z2 = (some(seed).requires_grad_() for seed in range(4))
    ours = simsiam_loss(p1, p2, z1, z2)
    theirs = (cosine(p1, z2.detach()) + cosine(p2, z1.detach())) / 2
    torch.testing.assert_close(ours, 1 + theirs)
    for a, b in zip(torch.autograd.grad(ours, (p1, p2)), torch.autograd.grad(theirs, (p1, p2)), strict=True):
        torch.testing.assert_close(a, b)


def test_loss_is_zero_where_predictions_point_at_their_targets_and_two_where_they_point_away():
    z1, z2 = some(0), some(1)
    assert simsiam_loss(3 * z2, 0.5 * z1, z1, z2).item() == pytest.approx(0, abs=1e-6)
    assert simsiam_loss(-z2, -z1, z1, z2).item() == pytest.approx(2)


def test_loss_is_a_quarter_of_byols():
    p1, p2, z1, z2 = (some(seed) for seed in range(4))
    torch.testing.assert_close(4 * simsiam_loss(p1, p2, z1, z2), byol_loss(p1, p2, z1, z2))


def test_gradient_is_right_and_reaches_the_predictions_only():
    p1, p2, z1, z2 = (some(seed).double().requires_grad_() for seed in range(4))
    assert torch.autograd.gradcheck(lambda a, b: simsiam_loss(a, b, z1, z2), (p1, p2))
    simsiam_loss(p1, p2, z1, z2).backward()
    assert p1.grad.abs().sum() > 0
    assert p2.grad.abs().sum() > 0
    assert z1.grad is None
    assert z2.grad is None


def test_each_view_is_predicted_from_the_other():
    method, feed = learner()
    views = feed(0)
    out = method.loss(views)
    z1, z2 = (method.online(view)[1] for view in (views.first, views.second))
    expected = 1 + oracle.simsiam(*(x.tolist() for x in (method.predictor(z1), method.predictor(z2), z1, z2)))
    assert out.loss.item() == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(out.logs["feature_std"], spread(z1))
    for h, view in zip(out.features, (views.first, views.second), strict=True):
        torch.testing.assert_close(h, method.online.backbone(view))
        assert h.requires_grad


def test_loss_twice_gives_the_same():
    method, feed = learner()
    first = method.loss(feed(0)).loss
    assert torch.equal(first, method.loss(feed(0)).loss)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_projector_ends_in_a_norm_without_scale_and_predictor_in_a_bare_layer(layers):
    method, _ = learner(projector_layers=layers)
    kinds = [type(layer).__name__ for layer in method.online.head]
    assert kinds == ["Linear", "BatchNorm1d", "ReLU"] * (layers - 1) + ["Linear", "BatchNorm1d"]
    norms = [layer for layer in method.online.head if isinstance(layer, torch.nn.BatchNorm1d)]
    assert [norm.affine for norm in norms] == [True] * (layers - 1) + [False]
    assert [type(layer).__name__ for layer in method.predictor] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]
    assert (method.predictor[0].in_features, method.predictor[0].out_features) == (8, 4)


def test_the_predictors_rate_stays_constant():
    method, _ = learner()
    optimiser = OPTIM.optimiser(method)
    OPTIM.move(optimiser, 0.95)
    rates = {p: group["lr"] for group in optimiser.param_groups for p in group["params"]}
    assert {rates[p] for p in method.predictor.parameters()} == {OPTIM.learning_rate}
    assert all(rates[p] < 0.1 * OPTIM.learning_rate for p in method.online.parameters())


def test_training_lowers_the_loss(tmp_path):
    method, feed = learner()
    cpu = Device(torch.device("cpu"), bf16=False)
    rows = fit(method, lambda _: feed(0), OPTIM, num_steps=15, seed=0, device=cpu, state=tmp_path, save_seconds=1e9)
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    assert rows[-1]["feature_std"] > 0.3


@pytest.mark.parametrize("bad", [{"dim": 0}, {"hidden_dim": 0}, {"projector_layers": 0}, {"predictor_dim": 0}])
def test_values_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        SimsiamParams(**{**PARAMS, **bad})
