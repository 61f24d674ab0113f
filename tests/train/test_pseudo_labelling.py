"""FixMatch, FlexMatch, FreeMatch and SoftMatch: each against its equations, and where it becomes something known."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.nn.ema import warm_momentum
from pipeline.train.methods import METHODS
from pipeline.train.methods.flexmatch import flexible_thresholds
from pipeline.train.methods.freematch import adaptive_thresholds, fairness_term
from pipeline.train.methods.softmatch import soft_weights
from tests.digits import backbone, semi, task
from tests.oracles import flexmatch as flex_oracle
from tests.oracles import freematch as free_oracle
from tests.oracles import losses
from tests.oracles import softmatch as soft_oracle
from tests.train.helpers import IMAGES, ROWS, confident, logits, unlabelled_loss

FAMILY = ["fixmatch", "flexmatch", "freematch", "softmatch"]
ALL = torch.ones(10, dtype=torch.bool)


@pytest.mark.parametrize("name", FAMILY)
def test_no_gradient_reaches_the_weak_view(name):
    weak, strong = logits(0).requires_grad_(), logits(1).requires_grad_()
    unlabelled_loss(name)(weak, strong, ROWS)[0].backward()
    assert weak.grad is None
    assert strong.grad.abs().sum() > 0


@pytest.mark.parametrize("name", FAMILY[1:])
def test_a_pseudo_label_of_a_class_without_a_label_does_not_count(name):
    """Without alignment, which moves predictions to classes that have one."""
    own = unlabelled_loss(name, [[3], [7]], align="none")
    for _ in range(3):
        loss, rate = own(confident([5] * 40), logits(1), ROWS)
        assert loss == rate == 0
        own.after_step()
    loss, rate = own(confident([3] * 20 + [5] * 20), logits(1), ROWS)
    assert loss > 0
    assert 0 < rate <= 0.5


@pytest.mark.parametrize("name", FAMILY)
def test_the_losses_of_levels_are_summed(name):
    params = semi(name)[0].params
    method = METHODS[name](backbone(), task(), params).eval()
    batch = method.feed(IMAGES)(0)
    out = method.loss(batch)
    weak, strong = (method.net(view) for view in batch.views)
    levels = zip(weak, method.unlabelled, strict=True)
    parts = [own(weak[level].softmax(dim=1), strong[level], batch.rows) for level, own in levels]
    assert len(parts) == 2
    torch.testing.assert_close(out.logs["unlabelled"], parts[0][0] + parts[1][0])
    torch.testing.assert_close([out.logs["mask_rate"], out.logs["mask_rate_coarse"]], [rate for _, rate in parts])


@pytest.mark.parametrize("name", ["fixmatch", "flexmatch"])
def test_above_threshold_one_it_is_the_supervised_loss(name):
    """In eval mode, as in train mode batch norm rightly sees the unlabelled images too."""
    method, feed = semi(name, threshold=1.01)
    supervised, _ = semi("supervised")
    supervised.net.load_state_dict(method.net.state_dict())
    step = method.eval().loss(feed(0))
    torch.testing.assert_close(step.loss, supervised.eval().loss(feed(0)).loss)
    assert step.logs["mask_rate"] == 0


def test_the_weight_scales_the_unlabelled_loss():
    (method, feed), (heavy, _) = semi("fixmatch"), semi("fixmatch", weight=3.0)
    heavy.load_state_dict(method.state_dict())
    one, three = method.eval().loss(feed(0)), heavy.eval().loss(feed(0))
    torch.testing.assert_close(three.loss, one.loss + 2 * one.logs["unlabelled"])
    assert one.logs["unlabelled"] > 0


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.95])
def test_fixmatch_is_the_papers(threshold):
    weak, strong = logits(0), logits(1)
    expected, share = losses.fixmatch(weak.tolist(), strong.tolist(), threshold)
    loss, rate = unlabelled_loss("fixmatch", threshold=threshold)(weak, strong, ROWS)
    assert 0 < share < 1 or threshold == 0
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert rate.item() == pytest.approx(share)
    if threshold == 0:  # plain pseudo-labelling
        assert torch.equal(loss, F.cross_entropy(strong, weak.argmax(1)))


@pytest.mark.parametrize("most", [20, 200])  # the class of most images is the measure, or the unused ones are
def test_flexmatchs_thresholds_are_the_papers(most):
    last = [0] * most + [1] * 30 + [2] * 5 + [9] + [-1] * 100
    counts = torch.tensor([last.count(c) for c in range(10)])
    expected = flex_oracle.thresholds(last, 10, 0.95)
    assert max(expected) == 0.95 if most == 200 else max(expected) < 0.3
    torch.testing.assert_close(flexible_thresholds(counts, torch.tensor(100), 0.95), torch.tensor(expected))


def test_flexmatchs_loss_and_memory_are_the_papers_over_several_steps():
    own = unlabelled_loss("flexmatch", threshold=0.9)
    # Few images are unused, so that thresholds differ from class to class.
    last = [-1] * 20 + [c for c in range(10) for _ in range(10 + 4 * c)]
    own.last.copy_(torch.tensor(last))
    for step in range(4):
        weak, strong = logits(step, count=100), logits(50 + step, count=100)
        rows = torch.randperm(300, generator=torch.Generator().manual_seed(step))[:100]
        expected, share = flex_oracle.loss(weak.tolist(), strong.tolist(), last, 0.9)
        assert 0 < share < 1
        loss, rate = own(weak, strong, rows)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        assert rate.item() == pytest.approx(share)
        assert own.last.tolist() == last
        own.after_step()
        last = flex_oracle.remember(weak.tolist(), rows.tolist(), last, 0.9)
        assert own.last.tolist() == last


def test_flexmatch_with_all_images_used_and_classes_balanced_is_fixmatch():
    own, plain = unlabelled_loss("flexmatch", threshold=0.7), unlabelled_loss("fixmatch", threshold=0.7)
    own.last.copy_(torch.arange(300) % 10)
    loss, rate = own(logits(0), logits(1), ROWS)
    assert 0 < rate < 1
    assert (loss, rate) == plain(logits(0), logits(1), ROWS)


def test_at_flexmatchs_first_step_every_pseudo_label_counts():
    assert unlabelled_loss("flexmatch", threshold=0.7)(logits(0), logits(1), ROWS)[1] == 1


def test_a_less_confident_pseudo_label_takes_no_confident_one_out_of_flexmatchs_memory():
    own = unlabelled_loss("flexmatch", threshold=0.7)
    for weak in (confident([3] * 40), confident([4] * 40, height=0.1), confident([6] * 20 + [4] * 20)):
        own(weak, weak, ROWS)
        own.after_step()
    own.after_step()  # nothing waits: nothing moves
    assert own.last.tolist() == [6] * 20 + [4] * 20 + [-1] * 260


def test_of_an_image_that_is_twice_in_a_batch_flexmatch_remembers_the_higher_class_whatever_the_order():
    weak, rows = confident([3, 5, 7, 2]), torch.tensor([11, 11, 12, 12])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        own = unlabelled_loss("flexmatch", threshold=0.7)
        own(weak[order], weak[order], rows[order])
        own.after_step()
        assert own.last[10:14].tolist() == [-1, 5, 7, -1]


def test_flexmatch_remembers_no_class_without_a_label():
    own = unlabelled_loss("flexmatch", [[3], [7]], threshold=0.7)
    own(confident([5] * 20 + [3] * 20), logits(0), ROWS)
    own.after_step()
    assert own.last.tolist() == [-1] * 20 + [3] * 20 + [-1] * 260


@pytest.mark.parametrize(("momentum", "warm"), [(0.999, True), (0.2, True), (0.2, False)])
def test_freematch_is_the_papers_over_several_steps(momentum, warm):
    own = unlabelled_loss("freematch", threshold_momentum=momentum, fairness=0.5, warm_averages=warm)
    averages = 0.1, [0.1] * 10, [0.1] * 10
    for step in range(3):
        weak, strong = logits(step).tolist(), logits(50 + step).tolist()
        averages = free_oracle.averages(weak, averages, warm_momentum(momentum, step + 1) if warm else momentum)
        mask = free_oracle.mask(weak, *averages[:2])
        assert 0 < sum(mask) < 40
        expected = free_oracle.pseudo(weak, strong, mask) + 0.5 * free_oracle.fairness(strong, mask, *averages[1:])
        loss, rate = own(torch.tensor(weak), torch.tensor(strong), ROWS)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        assert rate.item() == pytest.approx(sum(mask) / 40)
        own.after_step()
        tau, mean, histogram = own.confidence.mean, own.mean_prediction.mean, own.histogram.mean
        assert (tau.item(), mean.tolist(), histogram.tolist()) == tuple(map(pytest.approx, averages))


def test_freematch_with_equal_mean_predictions_has_one_threshold():
    assert adaptive_thresholds(torch.tensor(0.7), torch.full((10,), 0.1), ALL).tolist() == pytest.approx([0.7] * 10)
    # Every class has the same two predictions, one more confident than the other.
    rows = torch.cat([torch.diag(torch.full((10,), 2.0)), torch.diag(torch.full((10,), 5.0))])
    tau = 2 / 11 * 0.1 + 9 / 11 * rows.softmax(dim=1).amax(dim=1).mean().item()
    own = unlabelled_loss("freematch", threshold_momentum=0.999, fairness=0.0)
    loss, rate = own(rows, logits(1, count=20), ROWS[:20])
    assert rate == 0.5
    assert (loss, rate) == unlabelled_loss("fixmatch", threshold=tau)(rows, logits(1, count=20), ROWS[:20])


def test_in_freematch_a_class_that_is_predicted_less_has_a_lower_threshold():
    mean, has_label = torch.tensor([0.5, 0.25, 0.05, 0.2]), torch.tensor([True, True, True, False])
    found = adaptive_thresholds(torch.tensor(0.8), mean, has_label)
    assert found.tolist() == pytest.approx([0.8, 0.4, 0.08, 0.0])


def test_the_fairness_term_is_the_papers_and_so_is_its_gradient():
    mean, histogram = logits(4)[0].double().softmax(0), logits(5)[0].double().softmax(0)
    mask = (torch.arange(12) % 3 > 0).double()
    strong = logits(3, count=12).double().requires_grad_()
    expected = free_oracle.fairness(strong.tolist(), mask.tolist(), mean.tolist(), histogram.tolist())
    found = fairness_term(strong, mask, mean, histogram, ALL)
    assert found.item() == pytest.approx(expected, rel=1e-5)
    assert found < 0
    assert torch.autograd.gradcheck(lambda s: fairness_term(s, mask, mean, histogram, ALL), strong)


def test_the_fairness_term_at_known_places():
    even, strong = torch.full((10,), 0.1), logits(0).requires_grad_()
    found = fairness_term(torch.eye(10) * 3, torch.ones(10), even, even, ALL)
    torch.testing.assert_close(found, -torch.tensor(10.0).log())
    nothing = fairness_term(strong, torch.zeros(40), even, even, ALL)
    one = fairness_term(strong, torch.ones(40), even, even, torch.arange(10) == 3)
    (nothing + one).backward()
    assert nothing == one == 0
    assert (strong.grad == 0).all()


def test_a_class_that_was_never_predicted_does_not_make_the_fairness_term_infinite():
    strong, histogram = logits(0).requires_grad_(), torch.tensor([0.0] * 5 + [0.2] * 5)
    found = fairness_term(strong, torch.ones(40), torch.full((10,), 0.1), histogram, ALL)
    found.backward()
    assert found.isfinite()
    assert strong.grad.isfinite().all()


@pytest.mark.parametrize(("momentum", "warm", "n_sigma"), [(0.999, True, 2.0), (0.2, True, 1.0), (0.9, False, 2.0)])
def test_softmatch_is_the_papers_over_several_steps(momentum, warm, n_sigma):
    changes = {"align_momentum": momentum, "confidence_momentum": momentum, "warm_averages": warm}
    own = unlabelled_loss("softmatch", n_sigma=n_sigma, **changes)
    averages = [0.1] * 10, 0.1, 1.0
    for step in range(3):
        weak, strong = logits(step) + torch.arange(10) / 5, logits(50 + step)
        expected, share, averages = soft_oracle.loss(
            weak.tolist(), strong.tolist(), averages, warm_momentum(momentum, step + 1) if warm else momentum, n_sigma
        )
        loss, rate = own(weak, strong, ROWS)
        assert loss.item() == pytest.approx(expected, rel=1e-5)
        assert rate.item() == pytest.approx(share, rel=1e-5)
        own.after_step()
        found = own.alignment.mean.tolist(), own.mu.mean.item(), own.var.mean.item()
        assert found == tuple(map(pytest.approx, averages))


def test_in_softmatch_alignment_says_how_much_a_pseudo_label_counts_and_not_what_it_is():
    weak = torch.tensor([[2.0, 1.9] + [-9.0] * 8] * 39 + [[1.9, 2.0] + [-9.0] * 8])
    own = unlabelled_loss("softmatch", confidence_momentum=0.999)
    own.alignment.mean.copy_(torch.tensor([0.9] + [0.1 / 9] * 9))
    own.mu.mean.zero_()
    for mean in (own.alignment, own.mu):  # the means stay where they are
        mean.steps.fill_(10**9)
        mean.momentum = 1.0
    assert own.alignment(weak.softmax(dim=1)).argmax(dim=1).tolist() == [1] * 40
    loss, rate = own(weak, logits(1), ROWS)
    assert rate == 1
    torch.testing.assert_close(loss, F.cross_entropy(logits(1), torch.tensor([0] * 39 + [1])))


def test_softmatch_with_equal_confidences_is_plain_pseudo_labelling():
    labels = torch.arange(40) % 10
    loss, rate = unlabelled_loss("softmatch", align="none")(confident(labels, 3.0), logits(1), ROWS)
    assert rate == 1
    assert torch.equal(loss, F.cross_entropy(logits(1), labels))


def test_softmatchs_weights_at_known_places():
    confidence = torch.tensor([0.9, 0.6, 0.6 - 0.1, 0.6 - 0.2])
    found = soft_weights(confidence, torch.tensor(0.6), torch.tensor(0.01), 1.0)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, -0.5, -2.0]).exp())
    # Twice n_sigma is half the deviation.
    torch.testing.assert_close(soft_weights(confidence, torch.tensor(0.6), torch.tensor(0.04), 2.0), found)
    without_variance = soft_weights(torch.tensor([0.5, 0.6]), torch.tensor(0.6), torch.tensor(0.0), 2.0)
    assert without_variance.tolist() == [0, 1]
