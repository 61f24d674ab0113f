"""FreeMatch against its equations, and in the cases in which it becomes something known."""

import pytest
import torch

from pipeline.nn.ema import warm_keep
from pipeline.train.methods.fixmatch import FixMatch
from pipeline.train.methods.freematch import FreeMatch, adaptive_thresholds, fairness_term
from tests.oracles import freematch as oracle
from tests.train.family import FEW, check_few_labels, check_levels, check_training, guesses, logits

PARAMS = {"threshold_keep": 0.999, "fairness": 0.05}
ROWS = torch.arange(40)
ALL = torch.ones(10, dtype=torch.bool)


@pytest.mark.parametrize("keep", [0.999, 0.2])  # warmed up; not held back by the warm-up
def test_loss_is_the_papers_over_several_steps(keep):
    own = guesses(FreeMatch, {"threshold_keep": keep, "fairness": 0.5})
    averages = 0.1, [0.1] * 10, [0.1] * 10
    for step in range(3):
        weak, strong = logits(step).tolist(), logits(50 + step).tolist()
        averages = oracle.averages(weak, averages, warm_keep(keep, step + 1))
        flags = oracle.kept(weak, *averages[:2])
        assert 0 < sum(flags) < 40
        expected = oracle.pseudo(weak, strong, flags) + 0.5 * oracle.fairness(strong, flags, *averages[1:])
        loss, share = own(torch.tensor(weak), torch.tensor(strong), ROWS)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        assert share.item() == pytest.approx(sum(flags) / 40)
        own.after_step()
        tau, mean, histogram = own.confidence.mean, own.mean_guess.mean, own.histogram.mean
        assert (tau.item(), mean.tolist(), histogram.tolist()) == tuple(map(pytest.approx, averages))


def test_with_equal_mean_guesses_there_is_one_threshold():
    mean = torch.full((10,), 0.1)
    assert adaptive_thresholds(torch.tensor(0.7), mean, ALL).tolist() == pytest.approx([0.7] * 10)
    # Every class has the same two guesses, one surer than the other.
    rows = torch.cat([torch.diag(torch.full((10,), 2.0)), torch.diag(torch.full((10,), 5.0))])
    tau = 2 / 11 * 0.1 + 9 / 11 * rows.softmax(dim=1).amax(dim=1).mean().item()
    own, plain = guesses(FreeMatch, {**PARAMS, "fairness": 0.0}), guesses(FixMatch, {"threshold": tau})
    strong = logits(1, count=20)
    loss, kept = own(rows, strong, ROWS[:20])
    assert kept == 0.5
    assert (loss, kept) == plain(rows, strong, ROWS[:20])


def test_a_class_that_is_guessed_less_has_a_lower_threshold():
    mean = torch.tensor([0.5, 0.25, 0.05, 0.2])
    reached = torch.tensor([True, True, True, False])
    found = adaptive_thresholds(torch.tensor(0.8), mean, reached)
    assert found.tolist() == pytest.approx([0.8, 0.4, 0.08, 0.0])


def test_the_fairness_term_is_the_papers():
    strong, mean, histogram = logits(3), logits(4)[0].softmax(0), logits(5)[0].softmax(0)
    kept = (torch.arange(40) % 3 > 0).float()
    expected = oracle.fairness(strong.tolist(), kept.tolist(), mean.tolist(), histogram.tolist())
    found = fairness_term(strong, kept, mean, histogram, ALL)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert found < 0


def test_the_fairness_term_of_even_ratios_is_minus_log_of_the_classes():
    strong, even = torch.eye(10) * 3, torch.full((10,), 0.1)
    found = fairness_term(strong, torch.ones(10), even, even, ALL)
    torch.testing.assert_close(found, -torch.tensor(10.0).log())


def test_the_fairness_term_of_nothing_and_of_one_class_is_zero():
    strong, even = logits(0).requires_grad_(), torch.full((10,), 0.1)
    nothing = fairness_term(strong, torch.zeros(40), even, even, ALL)
    one = fairness_term(strong, torch.ones(40), even, even, torch.arange(10) == 3)
    (nothing + one).backward()
    assert nothing == 0
    assert one == 0
    assert (strong.grad == 0).all()


def test_a_class_that_was_never_guessed_before_does_not_make_it_infinite():
    histogram = torch.tensor([0.0] * 5 + [0.2] * 5)
    strong = logits(0).requires_grad_()
    found = fairness_term(strong, torch.ones(40), torch.full((10,), 0.1), histogram, ALL)
    found.backward()
    assert found.isfinite()
    assert strong.grad.isfinite().all()


def test_gradient_of_the_fairness_term():
    mean, histogram = logits(4)[0].double().softmax(0), logits(5)[0].double().softmax(0)
    kept = (torch.arange(12) % 3 > 0).double()
    strong = logits(3, count=12).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: fairness_term(s, kept, mean, histogram, ALL), strong)


def test_no_gradient_reaches_the_weak_view():
    weak, strong = logits(0).requires_grad_(), logits(1).requires_grad_()
    guesses(FreeMatch, PARAMS)(weak, strong, ROWS)[0].backward()
    assert weak.grad is None
    assert strong.grad.abs().sum() > 0


@pytest.mark.parametrize("labels", FEW)
@pytest.mark.parametrize("align", ["none", "uniform", "labels"])
def test_few_labels(labels, align):
    check_few_labels(FreeMatch, {**PARAMS, "align": align}, labels)


def test_several_levels():
    check_levels(FreeMatch, PARAMS)


def test_it_learns(tmp_path):
    check_training(FreeMatch, PARAMS, tmp_path)
