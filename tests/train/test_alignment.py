"""Distribution alignment: what the mean prediction is drawn to, and that it gets there."""

import pytest
import torch

from pipeline.nn.ema import warm_momentum
from pipeline.train.alignment import Alignment, goal_distribution, label_counts
from pipeline.train.targets import Targets
from tests.digits import task

TARGETS = Targets(
    {"label": ["a", "b", "c", "d"], "coarse": ["x", "y"]},
    torch.arange(5),
    torch.tensor([[0, 0], [0, -1], [0, 0], [2, 0], [-1, 1]]),
)


def predictions(seed, count=30):
    """Predictions that lean to the last class."""
    chance = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(count, 4, generator=chance) + torch.tensor([0.0, 0.5, 1.0, 2.0])).softmax(dim=1)


def test_targets():
    assert goal_distribution("none", TARGETS, 0) is None
    assert goal_distribution("uniform", TARGETS, 0).tolist() == [0.5, 0, 0.5, 0]
    assert goal_distribution("labels", TARGETS, 0).tolist() == [0.75, 0, 0.25, 0]
    assert goal_distribution("uniform", TARGETS, 1).tolist() == pytest.approx([2 / 3, 1 / 3])
    assert goal_distribution("labels", TARGETS, 1).tolist() == [0.75, 0.25]
    assert label_counts(TARGETS, 0).tolist() == [3, 0, 1, 0]


@pytest.mark.parametrize("momentum", [0.999, 0.1])
def test_it_is_remixmatchs_over_several_steps(momentum):
    goal = [0.1, 0.2, 0.3, 0.4]
    align, mean = Alignment(torch.tensor(goal), momentum, warm=True), goal
    for step in range(3):
        p = predictions(step).tolist()
        factor = warm_momentum(momentum, step + 1)
        mean = [factor * mean[c] + (1 - factor) * sum(row[c] for row in p) / len(p) for c in range(4)]
        expected = []
        for row in p:
            scaled = [row[c] * goal[c] / mean[c] for c in range(4)]
            expected.append([value / sum(scaled) for value in scaled])
        torch.testing.assert_close(align(torch.tensor(p)), torch.tensor(expected))
        align.after_step()
        assert align.mean.tolist() == pytest.approx(mean)


def test_the_mean_of_aligned_predictions_is_nearer_to_the_goal():
    goal = torch.tensor([0.4, 0.3, 0.2, 0.1])
    align, seen = Alignment(goal, 0.99, warm=True), []
    for step in range(200):
        seen.append(align(predictions(step)).mean(dim=0))
        align.after_step()
    plain = (predictions(0, 6000).mean(dim=0) - goal).abs().max()
    assert plain > 0.3
    assert (
        torch.stack(seen[100:]).mean(dim=0) - goal
    ).abs().max() < 0.5 * plain  # row by row it does not get all the way


def test_a_class_outside_the_goal_gets_nothing_and_rows_sum_to_one():
    aligned = Alignment(goal_distribution("labels", TARGETS, 0), 0.9, warm=True)(predictions(0))
    assert (aligned[:, [1, 3]] == 0).all()
    torch.testing.assert_close(aligned.sum(dim=1), torch.ones(30))


def test_predictions_whose_mean_is_the_goal_stay():
    p = predictions(0)
    align = Alignment(p.mean(dim=0), 0.9, warm=True)
    for _ in range(3):
        torch.testing.assert_close(align(p), p)
        align.after_step()


def test_twice_is_the_same_and_the_mean_waits():
    align = Alignment(torch.full((4,), 0.25), 0.9, warm=True)
    assert torch.equal(align(predictions(0)), align(predictions(0)))
    assert align.mean.tolist() == [0.25] * 4
    align.after_step()
    assert align.mean[3] > 0.4


def test_predictions_outside_the_goal_are_finite_and_no_gradient_flows():
    align = Alignment(torch.tensor([0.0, 1.0, 0.0, 0.0]), 0.9, warm=True)
    p = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]]).requires_grad_()
    aligned = align(p)
    assert aligned.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0]]
    assert not aligned.requires_grad
    for _ in range(50):  # a class of the goal that is never predicted
        aligned = align(p[:1])
        align.after_step()
    assert aligned.tolist() == [[0, 0, 0, 0]]
    assert align.mean.isfinite().all()


def test_uniform_is_of_the_finest_classes_at_every_level():
    """Three classes below `even`, two below `odd`; how many labels each has does not matter, nor coarse ones alone."""
    labels = [[0, 0], [0, 0], [2, 0], [4, 0], [1, 1], [3, 1], [-1, 1], [-1, 1], [5, -1]]
    targets = task(labels=labels).targets
    assert goal_distribution("uniform", targets, 0).tolist() == pytest.approx([1 / 6] * 6 + [0] * 4)
    assert goal_distribution("uniform", targets, 1).tolist() == pytest.approx([3 / 5, 2 / 5])
    assert goal_distribution("labels", targets, 1).tolist() == pytest.approx([4 / 8, 4 / 8])
    apart = task(labels=[[3, -1], [-1, 0], [-1, 0], [-1, 1]]).targets  # no row has both levels
    assert goal_distribution("uniform", apart, 1).tolist() == pytest.approx([1 / 2, 1 / 2])
