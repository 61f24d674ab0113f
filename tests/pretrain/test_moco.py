"""MoCo against its equation, its reductions, and its queue."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.base.errors import ParamsError
from pipeline.nn.mlp import in_groups
from pipeline.pretrain.methods.moco import Moco, MocoParams, moco_loss
from tests.digits import PARAMS, backbone, learner
from tests.oracles import losses


def unit(n, d, seed):
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_loss_is_the_papers():
    q, k, queue = unit(5, 4, 0), unit(5, 4, 1), unit(7, 4, 2)
    expected = losses.moco(q.tolist(), k.tolist(), queue.tolist(), 0.2)
    assert moco_loss(q, k, queue, 0.2).item() == pytest.approx(expected, rel=1e-5)


def test_without_negatives_the_loss_is_zero():
    assert moco_loss(unit(5, 4, 0), unit(5, 4, 1), torch.empty(0, 4), 0.2).item() == 0.0


def test_with_all_vectors_equal_the_loss_is_log_of_one_plus_the_queue():
    one = unit(1, 4, 0)
    loss = moco_loss(one.repeat(3, 1), one.repeat(3, 1), one.repeat(9, 1), 0.07)
    assert loss.item() == pytest.approx(torch.tensor(10.0).log().item(), rel=1e-5)


def test_gradient_reaches_the_query_only_and_is_right():
    q = unit(3, 4, 0).double().requires_grad_()
    k, queue = unit(3, 4, 1).double().requires_grad_(), unit(5, 4, 2).double().requires_grad_()
    moco_loss(q, k, queue, 0.2).backward()
    assert q.grad.abs().sum() > 0
    assert k.grad is None
    assert queue.grad is None


def numbered(method, start, count):
    """Puts keys whose first component is their number through the queue."""
    keys = torch.zeros(count, 8)
    keys[:, 0] = torch.arange(start, start + count)
    method._keys = [keys]
    method.after_step(1, 10)


@pytest.mark.parametrize("batch", [1, 7, 50, 64, 120])
def test_queue_holds_the_last_keys_when_the_batch_does_not_divide_it(batch):
    method, _ = learner("moco")
    for start in range(0, 5 * batch, batch):
        numbered(method, start, batch)
    in_order = torch.roll(method.queue.rows[:, 0], -int(method.queue.count) % 50)
    if 5 * batch >= 50:
        assert in_order.tolist() == list(range(5 * batch - 50, 5 * batch))
    else:
        assert in_order[-5 * batch :].tolist() == list(range(5 * batch))


def test_loss_twice_gives_the_same_and_moves_no_queue():
    method, feed = learner("moco")
    before = method.queue.rows.clone()
    torch.manual_seed(0)
    first = method.loss(feed(0)).loss
    torch.manual_seed(0)
    assert torch.equal(first, method.loss(feed(0)).loss)
    assert torch.equal(before, method.queue.rows)


def test_slow_copy_follows_and_gets_no_gradient():
    method, feed = learner("moco")
    method.loss(feed(0)).loss.backward()
    assert all(p.grad is None for p in method.slow.parameters())
    weight = next(method.slow.parameters()).clone()
    with torch.no_grad():
        next(method.online.parameters()).add_(1.0)
    method.after_step(10, 10)  # keep_end is 1.0: at the last step nothing moves
    assert torch.equal(next(method.slow.parameters()), weight)
    method._keys = [unit(2, 8, 0)]
    method.after_step(0, 10)  # keep_start is 0.9
    torch.testing.assert_close(next(method.slow.parameters()), weight + 0.1)


def test_batch_norm_sees_each_group_apart():
    """With two groups, a query does not depend on the images of the other group; with one, it does."""
    _, feed = learner("moco")
    view = feed(0).first
    other = view.clone()
    other[4:] = 1 - other[4:]
    for groups, same in ((1, False), (2, True)):
        method = Moco(backbone(), MocoParams(**{**PARAMS["moco"], "bn_groups": groups}), 300, torch.Generator())
        a = in_groups(method.online.backbone, view, groups, shuffled=False)[:4]
        b = in_groups(method.online.backbone, other, groups, shuffled=False)[:4]
        assert torch.equal(a, b) is same


def test_shuffled_groups_give_back_each_image_its_own_vector():
    images = torch.arange(10.0).reshape(10, 1, 1, 1)
    torch.manual_seed(3)
    out = in_groups(torch.nn.Flatten(), images, groups=3, shuffled=True)
    assert out.flatten().tolist() == list(range(10))


def test_groups_that_are_too_small_are_refused():
    with pytest.raises(
        ParamsError, match=r"^pretrain.moco.bn_groups: expected at most 2, half of a process's batch, got 3$"
    ):
        in_groups(torch.nn.Flatten(), torch.rand(5, 1, 2, 2), groups=3, shuffled=False)


class Noted(torch.nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes

    def forward(self, part):
        self.sizes.append(len(part))
        return part.flatten(1)


def test_groups_are_of_even_size():
    sizes = []
    in_groups(Noted(sizes), torch.rand(10, 1, 1, 1), 4, shuffled=False)
    assert sizes == [3, 3, 2, 2]


def test_the_queue_is_no_longer_than_there_are_images():
    assert Moco(backbone(), MocoParams(**PARAMS["moco"]), 7, torch.Generator()).queue.rows.shape == (7, 8)
