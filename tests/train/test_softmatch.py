"""SoftMatch against its formulas, and in the case in which it becomes plain pseudo-labelling."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.nn.ema import warm_keep
from pipeline.train.methods.softmatch import SoftMatch, soft_weights
from tests.oracles import softmatch as oracle
from tests.train.family import FEW, check_few_labels, check_levels, check_training, guesses, logits

PARAMS = {"confidence_keep": 0.999, "n_sigma": 2.0, "align": "uniform"}
ROWS = torch.arange(40)


@pytest.mark.parametrize(("keep", "n_sigma"), [(0.999, 2.0), (0.2, 1.0)])
def test_loss_is_the_papers_over_several_steps(keep, n_sigma):
    own = guesses(SoftMatch, {"confidence_keep": keep, "align_keep": keep, "align": "uniform", "n_sigma": n_sigma})
    averages = [0.1] * 10, 0.1, 1.0
    for step in range(3):
        weak, strong = logits(step) + torch.arange(10) / 5, logits(50 + step)
        expected, share, averages = oracle.loss(
            weak.tolist(), strong.tolist(), averages, warm_keep(keep, step + 1), n_sigma
        )
        loss, weight = own(weak, strong, ROWS)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        assert weight.item() == pytest.approx(share, rel=1e-5)
        own.after_step()
        found = own.align.mean.tolist(), own.mu.mean.item(), own.var.mean.item()
        assert found == tuple(map(pytest.approx, averages))


def test_alignment_says_how_much_a_guess_counts_and_not_what_it_is():
    weak = torch.tensor([[2.0, 1.9] + [-9.0] * 8] * 39 + [[1.9, 2.0] + [-9.0] * 8])
    own = guesses(SoftMatch, PARAMS)
    own.align.mean.copy_(torch.tensor([0.9] + [0.1 / 9] * 9))
    own.align.steps.fill_(10**6)
    own.align.keep = 1.0
    strong = logits(1)
    assert own.align(weak.softmax(dim=1)).argmax(dim=1).tolist() == [1] * 40
    own.mu.keep = own.var.keep = 1.0
    own.mu.mean.zero_()
    own.mu.steps.fill_(10**9)
    loss, weight = own(weak, strong, ROWS)
    assert weight == 1
    torch.testing.assert_close(loss, F.cross_entropy(strong, torch.tensor([0] * 39 + [1])))


def test_guesses_that_are_all_as_sure_as_their_mean_are_plain_pseudo_labels():
    guess = torch.arange(40) % 10
    weak, strong = 3 * torch.eye(10)[guess], logits(1)
    loss, weight = guesses(SoftMatch, {**PARAMS, "align": "none"})(weak, strong, ROWS)
    assert weight == 1
    assert torch.equal(loss, F.cross_entropy(strong, guess))


def test_weights_at_known_places():
    confidence = torch.tensor([0.9, 0.6, 0.6 - 0.1, 0.6 - 0.2])
    found = soft_weights(confidence, torch.tensor(0.6), torch.tensor(0.01), 1.0)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, -0.5, -2.0]).exp())
    # Twice n_sigma is half the deviation.
    half = soft_weights(confidence, torch.tensor(0.6), torch.tensor(0.04), 2.0)
    torch.testing.assert_close(half, found)


def test_without_any_variance_the_weights_are_zero_and_one():
    found = soft_weights(torch.tensor([0.5, 0.6]), torch.tensor(0.6), torch.tensor(0.0), 2.0)
    assert found.tolist() == [0, 1]


def test_no_gradient_reaches_the_weak_view():
    weak, strong = logits(0).requires_grad_(), logits(1).requires_grad_()
    guesses(SoftMatch, PARAMS)(weak, strong, ROWS)[0].backward()
    assert weak.grad is None
    assert strong.grad.abs().sum() > 0


@pytest.mark.parametrize("labels", FEW)
@pytest.mark.parametrize("align", ["none", "uniform", "labels"])
def test_few_labels(labels, align):
    check_few_labels(SoftMatch, {**PARAMS, "align": align}, labels)


def test_several_levels():
    check_levels(SoftMatch, PARAMS)


def test_it_learns(tmp_path):
    check_training(SoftMatch, PARAMS, tmp_path)
