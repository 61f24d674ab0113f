"""FlexMatch against its formulas, and in the cases in which it becomes FixMatch or supervised training."""

import pytest
import torch

from pipeline.train.methods.fixmatch import FixMatch
from pipeline.train.methods.flexmatch import FlexMatch, flexible_thresholds
from pipeline.train.methods.supervised import Supervised, SupervisedParams
from tests.digits import backbone, task
from tests.oracles import flexmatch as oracle
from tests.train.family import FEW, check_few_labels, check_levels, check_training, guesses, logits, made, sure_of

PARAMS = {"threshold": 0.7}
ROWS = torch.arange(40)


@pytest.mark.parametrize("most", [20, 200])  # the class of most images is the measure, or the unused ones are
def test_thresholds_are_the_papers(most):
    last = [0] * most + [1] * 30 + [2] * 5 + [9] + [-1] * 100
    counts = torch.tensor([last.count(c) for c in range(10)])
    expected = oracle.thresholds(last, 10, 0.95)
    assert max(expected) == 0.95 if most == 200 else max(expected) < 0.3
    torch.testing.assert_close(flexible_thresholds(counts, torch.tensor(100), 0.95), torch.tensor(expected))


def test_loss_and_memory_are_the_papers_over_several_steps():
    own = guesses(FlexMatch, {"threshold": 0.9})
    # Few images are unused, so that thresholds differ from class to class.
    last = [-1] * 20 + [c for c in range(10) for _ in range(10 + 4 * c)]
    own.last.copy_(torch.tensor(last))
    shares = []
    for step in range(4):
        weak, strong = logits(step, count=100), logits(50 + step, count=100)
        rows = torch.randperm(300, generator=torch.Generator().manual_seed(step))[:100]
        expected, kept = oracle.loss(weak.tolist(), strong.tolist(), last, 0.9)
        loss, share = own(weak, strong, rows)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        assert share.item() == pytest.approx(kept)
        shares.append(kept)
        assert own.last.tolist() == last
        own.after_step()
        last = oracle.remember(weak.tolist(), rows.tolist(), last, 0.9)
        assert own.last.tolist() == last
    assert all(0 < share < 1 for share in shares)


def test_with_all_images_used_and_classes_balanced_it_is_fixmatch():
    own, plain = guesses(FlexMatch, PARAMS), guesses(FixMatch, PARAMS)
    own.last.copy_(torch.arange(300) % 10)
    weak, strong = logits(0), logits(1)
    loss, kept = own(weak, strong, ROWS)
    assert 0 < kept < 1
    assert (loss, kept) == plain(weak, strong, ROWS)


def test_above_threshold_one_it_is_the_supervised_loss():
    method, feed = made(FlexMatch, {"threshold": 1.01})
    supervised = Supervised(backbone(), task().finest(), SupervisedParams(keep=0.9)).eval()
    supervised.net.load_state_dict(method.net.state_dict())
    step = method.eval().loss(feed(0))
    torch.testing.assert_close(step.loss, supervised.loss(feed(0)).loss)
    assert step.logs["kept"] == 0


def test_at_first_every_guess_counts():
    assert guesses(FlexMatch, PARAMS)(logits(0), logits(1), ROWS)[1] == 1


def test_an_unsure_guess_takes_no_sure_one_away():
    own = guesses(FlexMatch, PARAMS)
    for weak in (sure_of([3] * 40), sure_of([4] * 40, height=0.1), sure_of([6] * 20 + [4] * 20)):
        own(weak, weak, ROWS)
        own.after_step()
    own.after_step()  # nothing waits: nothing moves
    assert own.last.tolist() == [6] * 20 + [4] * 20 + [-1] * 260


def test_of_an_image_that_stands_twice_the_higher_class_counts_whatever_the_order():
    weak, rows = sure_of([3, 5, 7, 2]), torch.tensor([11, 11, 12, 12])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        own = guesses(FlexMatch, PARAMS)
        own(weak[order], weak[order], rows[order])
        own.after_step()
        assert own.last[10:14].tolist() == [-1, 5, 7, -1]


def test_no_class_without_a_label_is_remembered():
    own = guesses(FlexMatch, PARAMS, [[3], [7]])
    own(sure_of([5] * 20 + [3] * 20), logits(0), ROWS)
    own.after_step()
    assert own.last.tolist() == [-1] * 20 + [3] * 20 + [-1] * 260


def test_no_gradient_reaches_the_weak_view():
    weak, strong = logits(0).requires_grad_(), logits(1).requires_grad_()
    guesses(FlexMatch, PARAMS)(weak, strong, ROWS)[0].backward()
    assert weak.grad is None
    assert strong.grad.abs().sum() > 0


@pytest.mark.parametrize("labels", FEW)
@pytest.mark.parametrize("align", ["none", "uniform", "labels"])
def test_few_labels(labels, align):
    check_few_labels(FlexMatch, {"threshold": 0.12, "align": align}, labels)


def test_several_levels():
    check_levels(FlexMatch, {"threshold": 0.05})


def test_it_learns(tmp_path):
    check_training(FlexMatch, {"threshold": 0.5}, tmp_path)
