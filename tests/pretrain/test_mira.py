"""MIRA: the targets, against the paper's fixed point and against what they make least; small views."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pipeline.pretrain.methods.mira import mira_targets
from pipeline.pretrain.prototypes import swapped_loss
from tests.digits import self_supervised
from tests.oracles import mira
from tests.pretrain.family import on_two_ranks, unit


@pytest.mark.parametrize("beta", [0.0, 0.3, 2 / 3, 0.75])
@pytest.mark.parametrize("iterations", [1, 30])
def test_targets_are_the_papers(beta, iterations):
    y, prototypes = unit(2, 6, 4, seed=0).double(), unit(5, 4, seed=1).double()
    expected = [mira.targets(view.tolist(), prototypes.tolist(), 0.225, beta, iterations) for view in y]
    found = mira_targets(y, prototypes, 0.225, beta, iterations)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.double))
    torch.testing.assert_close(mira_targets(y.float(), prototypes.float(), 0.225, beta, iterations), found.float())


def test_targets_make_the_objective_least():
    """To the step of a finite difference, in all directions of the logits; without mutual information they are p."""
    y, prototypes = unit(1, 6, 4, seed=0).double(), unit(5, 4, seed=1).double()
    given = y[0].tolist(), prototypes.tolist(), 0.225, 0.75
    w = mira_targets(y, prototypes, 0.225, 0.75, 200)[0]
    least = mira.objective(w.tolist(), *given)
    for seed in range(20):
        step = 1e-3 * torch.randn(6, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
        there, back = (mira.objective((w.log() + sign * step).softmax(1).tolist(), *given) for sign in (1, -1))
        assert min(there, back) > least
        assert abs(there - back) / 2 < 1e-8
    torch.testing.assert_close(mira_targets(y, prototypes, 0.225, 0.0, 5)[0], (y[0] @ prototypes.T / 0.225).softmax(1))


def test_a_prototype_that_no_image_is_near_is_no_division_by_zero():
    y = torch.eye(4)[:2].expand(1, 2, 4)
    w = mira_targets(y, torch.cat([torch.eye(4)[:2], -torch.eye(4)[:1]]), 0.01, 0.75, 30)
    torch.testing.assert_close(w[0], torch.tensor([[1.0, 0, 0], [0, 1, 0]]))


def test_targets_are_those_of_the_batch_of_all_processes(monkeypatch):
    y, prototypes = unit(2, 6, 4, seed=0), unit(5, 4, seed=1)
    whole = mira_targets(y, prototypes, 0.225, 0.75, 30)
    parts = on_two_ranks(
        lambda rank: mira_targets(y[:, 3 * rank : 3 * rank + 3], prototypes, 0.225, 0.75, 30), monkeypatch
    )
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)


def test_small_views_predict_both_large_ones_and_leave_the_running_statistics():
    method, feed = self_supervised("mira", frozen=0.0)
    views = feed(0)
    small = views.first[None, :, :, ::2, ::2].expand(3, -1, -1, -1, -1)
    method.loss(views)
    moved = {name: x.clone() for name, x in method.student.backbone.named_buffers()}
    method, feed = self_supervised("mira", frozen=0.0)
    loss = method.loss(replace(views, local=small)).loss
    for name, x in method.student.backbone.named_buffers():
        assert torch.equal(x, moved[name]), name
    large = torch.cat([views.first, views.second])
    h = torch.cat([method.student.backbone(large), method.student.backbone(small.flatten(0, 1))])
    z = F.normalize(method.student.head(h), dim=1).unflatten(0, (5, -1))
    y = F.normalize(method.teacher(large)[1], dim=1).unflatten(0, (2, -1))
    w = mira_targets(y, method.prototypes, 0.225, 0.75, 30)
    torch.testing.assert_close(loss, swapped_loss(z, w, method.prototypes, 0.1))
