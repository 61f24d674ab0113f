"""CLD against its equation, its clusters against the loops, and what it leaves to the method that it is added to."""

import copy
import math
from contextlib import suppress

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.base.errors import ParamsError
from pipeline.fit import Step
from pipeline.nn.primitives import soft_ce
from pipeline.pretrain.cld import Cld, CldParams, cld_loss, grouped
from pipeline.pretrain.feed import Views
from pipeline.pretrain.method import SelfSupervised
from tests.digits import self_supervised, stopping
from tests.method_values import OPTIM
from tests.oracles import cld
from tests.pretrain.family import seeded_loss, trained, unit
from tests.refusals import refusal_of

SMALL = {"weight": 0.5, "dim": 8, "hidden_dim": 16, "temperature": 0.2, "clusters": 4, "iterations": 3}


def added(**changes):
    """MoCo with the term, and its batches of eight."""
    base, feed = self_supervised("moco")
    return Cld(base, CldParams(**{**SMALL, **changes}), torch.Generator().manual_seed(0)), feed


def clustered(g, first, iterations=3):
    """(clusters, centroids) of two views, each a list of two."""
    return zip(*(grouped(view, view[first], iterations) for view in g), strict=True)


@pytest.mark.parametrize("iterations", [1, 2, 10])
@pytest.mark.parametrize("k", [1, 3, 12])
def test_clusters_are_those_of_the_loops(k, iterations):
    g = unit(12, 3, seed=0)
    clusters, centroids = grouped(g, g[:k], iterations)
    expected, means = cld.groups(g.tolist(), g[:k].tolist(), iterations)
    assert clusters.tolist() == expected
    torch.testing.assert_close(centroids, torch.tensor(means))


def test_loss_is_the_papers():
    g = unit(2, 9, 4, seed=0)
    clusters, centroids = clustered(g, torch.arange(3))
    groups = [cld.groups(view.tolist(), view[:3].tolist(), 3) for view in g]
    expected = cld.loss(g.tolist(), [c for c, _ in groups], [m for _, m in groups], 0.2)
    assert cld_loss(list(g), clusters, centroids, 0.2).item() == pytest.approx(expected, rel=1e-5)


def test_with_a_cluster_for_each_image_it_is_instance_discrimination_within_the_batch():
    g = unit(2, 6, 8, seed=0)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    loss = cld_loss(list(g), *clustered(g, order), 0.2)
    own = torch.arange(6)
    torch.testing.assert_close(loss, (soft_ce(g[0], g[1], own, 0.2) + soft_ce(g[1], g[0], own, 0.2)) / 2)


def test_with_all_vectors_equal_the_loss_is_log_of_the_clusters():
    """And the clusters without members, all but one, keep their centroids."""
    one = unit(1, 4, seed=0).expand(2, 9, 4)
    clusters, centroids = clustered(one, torch.arange(5))
    torch.testing.assert_close(centroids[0], one[0, :5])
    assert clusters[0].tolist() == [0] * 9
    assert cld_loss(list(one), clusters, centroids, 0.2).item() == pytest.approx(math.log(5), rel=1e-5)


def test_gradient_is_right_through_vectors_and_means():
    def term(g):
        g = F.normalize(g, dim=2)
        return cld_loss(list(g), *clustered(g, torch.arange(3)), 0.2)

    assert torch.autograd.gradcheck(term, (unit(2, 6, 4, seed=1).double().requires_grad_(),))


def test_gradient_stops_at_the_clusters_and_passes_only_the_last_means():
    g = unit(9, 4, seed=0).requires_grad_()
    first = g[:3].detach().clone().requires_grad_()
    clusters, centroids = grouped(g, first, 4)
    assert not clusters.requires_grad
    grads = torch.autograd.grad(centroids[0, 0], (g, first))
    members = grads[0].abs().sum(dim=1) > 0
    assert torch.equal(members, clusters == 0)
    assert grads[1].abs().sum() == 0


def test_vectors_in_bf16_are_clustered_in_float32():
    g = unit(12, 8, seed=0).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        clusters, centroids = grouped(g, g[:4], 3)
    expected, means = grouped(g.float(), g[:4].float(), 3)
    assert torch.equal(clusters, expected)
    assert torch.equal(centroids, means)
    assert centroids.dtype == torch.float32


@pytest.mark.parametrize("weight", [0.0, 0.25, 2.0])
def test_the_term_is_added_by_its_weight(weight):
    method, feed = added(weight=weight)
    alone = seeded_loss(copy.deepcopy(method.base), feed(0))
    step = seeded_loss(method, feed(0))
    torch.testing.assert_close(step.loss, alone.loss + weight * step.logs["cld"])
    assert step.logs["cld"] > 0.1
    torch.testing.assert_close(step.logs["feature_std"], alone.logs["feature_std"])


def test_the_term_is_that_of_the_features():
    method, feed = added(hidden_dim=0)
    step = seeded_loss(method, feed(0))
    torch.manual_seed(0)
    first = torch.stack([torch.randperm(8) for _ in range(3)])[2, :4]  # after the base's two draws
    g = torch.stack([F.normalize(h @ method.head[0].weight.T + method.head[0].bias, dim=1) for h in step.features])
    torch.testing.assert_close(step.logs["cld"], cld_loss(list(g), *clustered(g, first), 0.2))


def test_gradient_reaches_backbone_and_head_but_no_teacher():
    method, feed = added()
    seeded_loss(method, feed(0)).logs["cld"].backward()
    assert all(p.grad.abs().sum() > 0 for p in method.head.parameters() if p.ndim > 1)
    assert all(p.grad.abs().sum() > 0 for p in method.base.student.backbone.parameters() if p.ndim > 1)
    assert all(p.grad is None for p in method.base.student.head.parameters())
    assert all(p.grad is None for p in method.base.teacher.parameters())


NO_VIEWS = Views(torch.empty(0, 1, 8, 8), torch.empty(0, 1, 8, 8), torch.empty(0, 0, 1, 8, 8), torch.empty(0).long())


class Fixed(SelfSupervised):
    """A method whose features are given, and whose loss is 0."""

    def __init__(self, *features):
        nn.Module.__init__(self)
        self.features, self.feature_dim = features, 6
        self.predictor = nn.Linear(2, 2)
        self.constant_rate, self.rate_scale = (self.predictor,), ((self.predictor, 2.0),)
        self.steps = []

    def loss(self, _):
        return Step(self.features[0].sum() * 0, {"feature_std": torch.tensor(1.0)}, self.features)

    def after_step(self, step, num_steps):
        self.steps.append((step, num_steps))


def around(*features, **changes):
    """The term beside a method of nothing."""
    return Cld(Fixed(*features), CldParams(**{**SMALL, **changes}), torch.Generator().manual_seed(0))


def test_features_without_a_gradient_train_the_head():
    student, teacher = unit(8, 6, seed=0).requires_grad_(), unit(8, 6, seed=1)
    method = around(student, teacher)
    method.loss(NO_VIEWS).loss.backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert method.head[0].weight.grad.abs().sum() > 0


def test_hook_rates_and_state_of_the_base_pass_through():
    method = around(unit(8, 6, seed=0), unit(8, 6, seed=1))
    method.after_step(3, 10)
    assert method.base.steps == [(3, 10)]
    assert (method.constant_rate, method.rate_scale) == (method.base.constant_rate, method.base.rate_scale)
    constant = {id(p) for group in OPTIM.optimiser(method).param_groups if group["constant"] for p in group["params"]}
    assert constant == {id(p) for p in method.base.predictor.parameters()}
    moco, _ = added()
    assert moco.constant_rate == ()
    assert {f"base.{name}" for name in moco.base.state_dict()} < moco.state_dict().keys()
    assert "head.0.weight" in moco.state_dict()


def test_the_head_is_drawn_from_the_methods_own_chance():
    torch.manual_seed(1)
    a = around(unit(8, 6, seed=0), unit(8, 6, seed=1)).head
    torch.manual_seed(2)
    b = around(unit(8, 6, seed=0), unit(8, 6, seed=1)).head
    assert torch.equal(a[0].weight, b[0].weight)
    assert a[0].weight.abs().max().item() == pytest.approx(6**-0.5, rel=0.1)  # as torch would have it


def test_more_clusters_than_images_are_refused():
    method, feed = added(clusters=8)
    method.loss(feed(0))
    method, feed = added(clusters=9)
    says = "pretrain.cld.clusters: expected at most 8, the images of a batch, got 9"
    assert refusal_of(method.loss, feed(0), kind=ParamsError) == says


def test_resumed_ends_in_the_same_bytes(tmp_path):
    method, feed = added()
    rows = trained(method, feed, tmp_path, 8)
    with suppress(KeyboardInterrupt):
        trained(added()[0], stopping(feed, 7), tmp_path, 8, save_seconds=0)
    again, _ = added()
    assert trained(again, feed, tmp_path, 8) == rows
    assert (tmp_path / "state.safetensors").exists()
    for key, tensor in method.state_dict().items():
        assert torch.equal(again.state_dict()[key], tensor), key


def test_training_lowers_the_term_and_a_weight_of_zero_does_not(tmp_path):
    falls = []
    for weight in (0.0, 2.0):
        found = []
        for number in range(3):
            method, feed = added(weight=weight, temperature=0.5)
            batch = feed(number)
            rows = trained(method, lambda _, batch=batch: batch, tmp_path, 20)
            found.append(sum(row["cld"] for row in rows[-4:]) / 4 / rows[0]["cld"])
        falls.append(sum(found) / 3)
    assert falls[1] < 0.6
    assert falls[0] > 0.75
