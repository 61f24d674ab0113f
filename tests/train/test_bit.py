"""BiT: its rule at every edge, its mixing against loops, and its start."""

import pytest
import torch

from pipeline.base.errors import ParamsError
from pipeline.train.methods.bit import BitParams, by_rule, rule
from tests.digits import chosen, digits, semi, task
from tests.method_values import OPTIM
from tests.oracles.algebra import cross_entropy
from tests.refusals import refusal_of
from tests.train.helpers import IMAGES, trained

# The authors' rule in steps: where the rate begins to fall from its height, where it falls, where training ends.
SCHEDULES = {
    1: (100, 200, 300, 400, 500),
    19_999: (100, 200, 300, 400, 500),
    20_000: (500, 3_000, 6_000, 9_000, 10_000),
    499_999: (500, 3_000, 6_000, 9_000, 10_000),
    500_000: (500, 6_000, 12_000, 18_000, 20_000),
}


def settled(num_labels=10, batch_size=512, part=512):
    params = BitParams(batch_size=batch_size, learning_rate=0.003, mixup=0.1)
    return by_rule(task(part).common, params, num_labels)


@pytest.mark.parametrize("num_labels", SCHEDULES)
@pytest.mark.parametrize(("batch_size", "part", "height"), [(512, 512, 0.003), (512, 64, 0.003), (128, 64, 0.00075)])
def test_the_schedule_at_each_edge(num_labels, batch_size, part, height):
    common, (top, *falls, end) = settled(num_labels, batch_size, part), SCHEDULES[num_labels]
    assert common.optim.accumulate == batch_size // part
    assert common.steps == end * batch_size // part
    assert (common.head, common.optim.name, common.optim.weight_decay) == ("zeros", "sgd", 0.0)
    assert (common.optim.momentum, common.optim.nesterov, common.optim.clip_norm) == (0.9, False, 0.0)
    edges = [edge + near for edge in (top, *falls) for near in (-1, 0, 1)]
    for step in (0, 1, *edges, end - 1):
        expected = height * min(step / top, 1) * 0.1 ** sum(step >= fall for fall in falls)
        assert common.optim.rate(step / end) == pytest.approx(expected, rel=1e-9), step


def test_from_20000_labels_on_images_are_mixed():
    assert [rule(n).mixes for n in SCHEDULES] == [False, False, True, True, True]


def test_what_the_rule_says_is_a_block_that_is_accepted():
    for num_labels in SCHEDULES:
        optim = settled(num_labels, part=64).optim
        assert type(optim).model_validate(optim.model_dump()) == optim


def test_parts_of_a_batch_are_equal():
    says = refusal_of(settled, 10, 512, 100, kind=ParamsError)
    assert says == "train.bit.batch_size: expected a multiple of train.batch_size, 100, got 512"
    assert refusal_of(settled, 10, 8, 16, kind=ParamsError).endswith("train.batch_size, 16, got 8")


def test_few_labels_fill_a_batch_each_equally_often():
    labels = [[digit] for digit in digits()[1][:10].tolist()]
    _, feed = semi("bit", task(batch_size=512, labels=labels))
    counts = torch.bincount(feed(3).label[:, 0], minlength=10)
    assert counts.sum() == 512
    assert counts.min() >= 50, "a batch ends and begins within a round of all ten"
    assert counts.max() <= 52


def many():
    """A method for 20,000 labels whose logits differ much between images, and a batch."""
    method, _ = semi("bit", task(labels=[[i % 10] for i in range(20_000)]))
    with torch.no_grad():
        method.net.head.layer(0).weight *= 100
    return method, semi("bit")[1](0)


def test_a_mix_has_the_loss_of_both_labels():
    method, batch = many()
    method.eval()
    torch.manual_seed(5)
    out = method.loss(batch)
    torch.manual_seed(5)
    share = torch.distributions.Beta(0.5, 0.5).sample().item()
    order = torch.randperm(len(batch.label)).tolist()
    assert 0.02 < share < 0.98, "else the mix is as good as none"
    assert order != sorted(order)
    losses = []
    for i, j in enumerate(order):
        image = share * batch.labelled[i] + (1 - share) * batch.labelled[j]
        logits = method.net(image[None])["label"][0].tolist()
        losses += [
            share * cross_entropy(logits, int(batch.label[i])),
            (1 - share) * cross_entropy(logits, int(batch.label[j])),
        ]
    assert out.loss.item() == pytest.approx(sum(losses) / len(order), rel=1e-5)
    few, _ = semi("bit")
    few.load_state_dict(method.state_dict())
    unmixed = few.eval().loss(batch).loss.item()
    assert out.loss.item() != pytest.approx(unmixed, rel=1e-2)


def test_without_mixing_it_is_the_loss_of_finetune_as_the_whole_network_learns():
    few, feed = semi("bit")
    none, _ = semi("bit", task(labels=[[i % 10] for i in range(20_000)]), mixup=0.0)
    other, _ = semi("finetune", head_share=0.0, backbone_scale=1.0)
    batch, losses = feed(0), []
    for method in (few, none, other):
        method.load_state_dict(few.state_dict())
        losses.append(method.train().loss(batch).loss)
    assert torch.equal(losses[0], losses[1])
    torch.testing.assert_close(losses[0], losses[2])


def test_the_linear_layer_starts_at_zero_and_learns(tmp_path):
    common = chosen("bit").settled(task().common, 20)
    method, feed = semi("bit", task(head=common.head))
    method.start(IMAGES)
    for net in (method.net, method.ema_net):
        assert not any(p.any() for p in net.head.parameters())
        assert any(p.any() for p in net.backbone.parameters())
    trained(method, feed, tmp_path, 3)
    assert all(p.any() for p in method.net.head.parameters())
    assert OPTIM.momentum == common.optim.momentum
