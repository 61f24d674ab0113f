"""MoCo's groups of batch norm, and what its relatives add to it."""

import pytest
import torch

from pipeline.base.errors import ParamsError
from pipeline.pretrain.momentum_contrast import forward_in_groups
from tests.digits import backbone, self_supervised
from tests.pretrain.family import seeded_loss, trained
from tests.refusals import refusal_of


@pytest.mark.parametrize(("groups", "same"), [(1, False), (2, True)])
def test_batch_norm_sees_each_group_apart(groups, same):
    """With two groups, a query does not depend on the images of the other group; with one, it does."""
    net, view = backbone(), self_supervised("moco")[1](0).first
    other = torch.cat([view[:4], 1 - view[4:]])
    a, b = (forward_in_groups(net, images, groups, "", shuffled=False)[:4] for images in (view, other))
    assert torch.equal(a, b) is same


class Noted(torch.nn.Module):
    """Notes the size of each part, and gives it back."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, part):
        self.sizes.append(len(part))
        return part.flatten(1)


def test_groups_are_of_even_size_and_give_back_each_image_its_own_vector():
    images, net = torch.arange(10.0).reshape(10, 1, 1, 1), Noted()
    torch.manual_seed(3)
    for shuffled in (False, True):
        assert forward_in_groups(net, images, 4, "", shuffled=shuffled).flatten().tolist() == list(range(10))
    assert net.sizes == [3, 3, 2, 2] * 2


def test_groups_that_are_too_small_are_refused():
    method, feed = self_supervised("moco", bn_groups=5)
    says = "pretrain.moco.bn_groups: expected at most 4, half of a process's batch, got 5"
    assert refusal_of(method.loss, feed(0), kind=ParamsError) == says


def test_keys_of_a_group_are_not_those_of_the_query():
    """So a query's batch norm tells nothing of its key's."""
    method, feed = self_supervised("moco", symmetric=False)
    views, seen = feed(0), []
    method.teacher.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    torch.manual_seed(0)
    method.loss(views)
    assert len(seen) == 2
    assert not torch.equal(torch.cat(seen), views.second)
    assert sorted(torch.cat(seen).flatten(1).sum(1).tolist()) == sorted(views.second.flatten(1).sum(1).tolist())


def test_interclr_takes_no_more_than_there_is():
    refused = refusal_of(lambda: self_supervised("interclr", clusters=301), kind=ParamsError)
    assert refused == "pretrain.interclr.clusters: expected at most 300, the training images, got 301"
    losses = []
    for most in (300, 1000):
        method, feed = self_supervised("interclr", candidates=most, negatives=most, inter_weight=1.0)
        method.clusters.labels.copy_(torch.arange(300) % 3)
        losses.append(seeded_loss(method, feed(0)).loss)
    assert torch.equal(*losses)


@pytest.mark.parametrize("name", ["ifnd", "interclr"])
def test_a_queue_knows_the_images_of_its_rows(name):
    method, feed = self_supervised(name)
    views = feed(0)
    method.loss(views)
    method.after_step(1, 10)
    assert method.numbers.rows.tolist() == [*views.rows.tolist() * 2, *[-1] * 34]


AS_MOCO = {
    "ifnd, no share counts": ("ifnd", {"share": 0.0}),
    "interclr, no weight": ("interclr", {"inter_weight": 0.0}),
    "interclr, before the first clusters": ("interclr", {}),
    "xmoco, neither term": ("xmoco", {"consistency": 0.0, "evenness": 0.0}),
    "mochi, no mixes": ("mochi", {"mixes": 0, "query_mixes": 0}),
    "mochi, before the first mixes": ("mochi", {"start": 1.0}),
}


@pytest.mark.parametrize("case", AS_MOCO)
def test_what_reduces_to_moco_trains_as_it_does_to_the_byte(case, tmp_path):
    name, changes = AS_MOCO[case]
    states, curves = [], []
    for number, (method, feed) in enumerate([self_supervised("moco", bn_groups=1), self_supervised(name, **changes)]):
        (tmp_path / str(number)).mkdir()
        curves.append(trained(method, feed, tmp_path / str(number), 4))
        states.append(method.state_dict())
    assert [row["loss"] for row in curves[1]] == [row["loss"] for row in curves[0]]
    assert all(torch.equal(states[1][key], x) for key, x in states[0].items())
