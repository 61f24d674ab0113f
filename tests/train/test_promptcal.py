"""PromptCAL: what belongs together against loops, its loss, its reduction to GCD, and what it refuses."""

import pytest
import torch
import torch.nn.functional as F

from pipeline.base.errors import ParamsError
from pipeline.nn.primitives import unit
from pipeline.train.affinity import affinity, belonging
from tests.digits import semi
from tests.oracles import promptcal as oracle
from tests.refusals import refusal_of
from tests.train.helpers import loss

OWN = torch.tensor([0, 1, 2, 5])
LABEL = torch.tensor([0, 0, 1, -1, 0, -1, -1, 1, -1, -1, -1, -1])
ABSENT = torch.tensor([False] * 10 + [True] * 2)


def nodes(seed=0):
    return unit(torch.randn(12, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


@pytest.mark.parametrize("neighbours", [1, 3])
def test_affinity_is_that_of_loops(neighbours):
    x = nodes()
    found = affinity(x, ABSENT, OWN, LABEL, neighbours)
    expected = oracle.affinity(x.tolist(), ABSENT.tolist(), OWN.tolist(), LABEL.tolist(), neighbours)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(found.sum(dim=1), torch.full((4,), 2.0, dtype=torch.float64))
    assert not found[:, ABSENT].any()


def test_labels_decide_and_an_image_belongs_to_itself():
    found = affinity(nodes(), ABSENT, OWN, LABEL, 3)
    positive = belonging(found, OWN, LABEL, 0.5)
    assert positive[0, [0, 1, 4]].all()
    assert not positive[0, [2, 7]].any()
    assert positive[2, [2, 7]].all()
    assert (found[0, [2, 7]] > 0).any()
    assert not belonging(found, OWN, LABEL, 0.0)[0, [2, 7]].any()
    assert positive.gather(1, OWN[:, None]).all()
    rest = (LABEL < 0) & ~ABSENT
    least = found[found > 0].quantile(0.5)
    assert torch.equal(positive[:3, rest], found[:3, rest] > least)
    assert belonging(found.zero_(), OWN, LABEL, 0.9)[0].nonzero()[:, 0].tolist() == [0, 1, 4]


def test_two_clusters_without_labels_belong_to_themselves_alone():
    x = unit(torch.tensor([[1.0, 0.0, 0.1 * i] for i in range(6)] + [[0.0, 1.0, 0.1 * i] for i in range(6)]))
    found = affinity(x, torch.zeros(12, dtype=torch.bool), torch.arange(12), torch.full((12,), -1), 3)
    assert not found[:6, 6:].any()
    assert not found[6:, :6].any()


def test_the_loss_is_the_cross_entropy_of_what_belongs_together():
    method, feed = semi("promptcal", affinity=0.4)
    batch = feed(1)
    out = method.eval().loss(batch)
    labelled, others = batch.labelled.chunk(2), batch.views
    z = unit(method.net(torch.cat([labelled[0], others[0]]))[1])
    target = unit(method.target(torch.cat([labelled[1], others[1]]))[1]).detach()
    label = torch.cat([batch.label[: len(labelled[0])], method.known[batch.rows]])
    own = torch.arange(len(target))
    positive = belonging(affinity(target, torch.zeros(len(target), dtype=torch.bool), own, label, 3), own, label, 0.5)
    terms = F.log_softmax(z @ target.T / 0.1, dim=1)
    expected = -torch.stack([row[of].mean() for row, of in zip(terms, positive, strict=True)]).mean()
    torch.testing.assert_close(out.logs["affinity"], expected)
    torch.testing.assert_close(out.logs["positives"], positive.sum(dim=1).float().mean())
    gcd = 0.35 * out.logs["labelled"] + 0.65 * out.logs["unlabelled"]
    torch.testing.assert_close(out.loss, gcd + 0.4 * expected)


def test_earlier_batches_are_remembered_with_their_labels():
    method, feed = semi("promptcal")
    for step in range(2):
        out = loss(method, feed(step))
        assert int(method.queue.count) == step * len(feed(0).rows) + step * len(feed(0).label) // 2
        method.after_step(step, 4)
    there = method.queue_label.rows[: int(method.queue.count)]
    assert (there >= 0).any()
    assert out.logs["positives"] > 1


def test_without_weight_it_is_gcd():
    values = []
    for name, changes in (("gcd", {}), ("promptcal", {"affinity": 0.0}), ("promptcal", {})):
        torch.manual_seed(0)
        method, feed = semi(name, **changes)
        values.append(loss(method, feed(0)).loss.item())
    assert values[0] == values[1] != values[2]


def test_the_weight_rises_over_the_warm_up():
    method, feed = semi("promptcal", warmup=0.5)
    method.eval()
    added = []
    for method.progress in (0.0, 0.25, 0.5, 0.9):
        out = method.loss(feed(0))
        plain = 0.35 * out.logs["labelled"] + 0.65 * out.logs["unlabelled"]
        added.append(((out.loss - plain) / out.logs["affinity"]).item())
    assert added == pytest.approx([0, 0.3, 0.6, 0.6], abs=1e-5)


def test_a_neighbourhood_of_the_whole_batch_is_refused():
    says = refusal_of(lambda: semi("promptcal", neighbours=28), kind=ParamsError)
    assert says == "train.promptcal.neighbours: expected less than 28, the images of a batch, got 28"
